//! How soon the overview can be used in a browser, and what it costs to keep it open.

use std::time::{Duration, Instant};

use probemesh_browser::driver::{Driver, Page, Window};

const LOADS: usize = 10;
const WATCHED: Duration = Duration::from_secs(30);

/// Milliseconds from the request until: the first byte, the parsed page, and a page that answers. The last is when two frames
/// were drawn after loading, so that a click would be handled at once. Then bytes on the wire.
const TIMES: &str = "const done = arguments[0]; \
    const drawn = () => requestAnimationFrame(() => requestAnimationFrame(() => { \
        const load = performance.getEntriesByType('navigation')[0]; \
        done([load.responseStart, load.domContentLoadedEventEnd, performance.now(), load.transferSize]); })); \
    if (document.readyState === 'complete') drawn(); else addEventListener('load', drawn);";

pub fn measure(hub: &str, password: &str) {
    let driver = Driver::start();
    let page = driver.open(Window::DESK);
    page.log_in(hub, password);
    page.sees("service");
    let mut loads: Vec<Vec<f64>> = (0..LOADS).map(|_| load(&page, hub)).collect();
    println!("overview, {LOADS} loads, milliseconds from the request:");
    for (index, what) in ["first byte", "parsed", "usable"].into_iter().enumerate() {
        loads.sort_by(|one, other| one[index].total_cmp(&other[index]));
        println!("  {what:<12} median {:>6.0}  worst {:>6.0}", loads[LOADS / 2][index], loads[LOADS - 1][index]);
    }
    println!("  on the wire  {:.1} KB", loads[0][3] / 1e3);
    let (cpu, began) = (page.cpu_seconds(&driver), Instant::now());
    std::thread::sleep(WATCHED);
    let share = (page.cpu_seconds(&driver) - cpu) / began.elapsed().as_secs_f64();
    println!("kept open for {} s: all of the browser took {:.1} % of a core", WATCHED.as_secs(), 100.0 * share);
    println!("what the browser complained of: {:?}", page.complaints());
}

fn load(page: &Page, hub: &str) -> Vec<f64> {
    page.go(hub);
    let times = page.run_async(TIMES);
    times.as_array().expect("a list").iter().map(|time| time.as_f64().expect("a number")).collect()
}
