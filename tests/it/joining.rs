//! Joining, over real TLS on loopback: machines, hubs, and those who pass for one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sections::MeshSettings;
use probemesh::config::sources::{Role, Sources};
use probemesh::mesh::authority::Authority;
use probemesh::mesh::identity::{CertificateFacts, Identity};
use probemesh::mesh::joining::desk::{JoinDesk, JoinDeskArgs, Joined, Links, PATIENCE, answer};
use probemesh::mesh::joining::ensure::{EnsureError, ensure_joined};
use probemesh::mesh::joining::frames::{self, CredentialName, FromHub, FromNode};
use probemesh::mesh::joining::node::{Credential, JoinOrder, join};
use probemesh::mesh::joining::proof::{EXPORTER_LABEL, JoinKey, Role as End, Session};
use probemesh::mesh::joining::{JoinError, Refusal};
use probemesh::mesh::node_files::{NodeFiles, NodeFilesError, Renewal, provider};
use probemesh::mesh::token::JoinToken;
use probemesh::mesh::token_issuer::{TokenIssuer, TokenOrder};
use probemesh::model::id::{NodeName, RegionName};
use probemesh::store::Store;
use probemesh::store::audit::Audit;
use probemesh::store::nodes::{JoinedBy, Nodes, Standing};
use probemesh::store::secrets::Secrets;
use rocket::http::Method;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::api_world::{World, author, store_settings};
use crate::binary::{Binary, free_port, program, run};

const SECRET: &str = "a long-lived secret of the fleet";
const LIMIT: Duration = Duration::from_secs(10);

/// A hub as far as joining goes: store, authority, desk and a listener.
struct Hub {
    desk: Arc<JoinDesk>,
    nodes: Arc<Nodes>,
    issuer: TokenIssuer,
    store: Arc<Store>,
    secrets: Arc<Secrets>,
    audit: Arc<Audit>,
    clock: Clock,
    address: SocketAddr,
    links: Arc<TestLinks>,
    outcomes: mpsc::UnboundedReceiver<Result<Joined, JoinError>>,
    /// Who came with a certificate.
    callers: mpsc::UnboundedReceiver<CertificateFacts>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct TestLinks {
    living: Mutex<BTreeSet<NodeName>>,
    replaced: Mutex<Vec<String>>,
}

impl Links for TestLinks {
    fn is_living(&self, node: &NodeName) -> bool {
        self.living.lock().unwrap().contains(node)
    }

    fn replaced(&self, node: &NodeName) {
        self.replaced.lock().unwrap().push(node.to_string());
    }
}

impl Hub {
    async fn new() -> Hub {
        Hub::with(Some(SECRET), PATIENCE).await
    }

    async fn with(join_secret: Option<&str>, patience: Duration) -> Hub {
        // TLS itself asks the system for the time, so the hand-moved clock begins there.
        let clock = Clock::manual(Clock::real().now());
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&store_settings(), clock.clone()).await.unwrap());
        let secrets = Arc::new(Secrets::from_key(&[7; 32]));
        let audit = Arc::new(Audit::new(store.database.clone(), clock.clone()));
        let nodes = Arc::new(Nodes::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await.unwrap());
        let authority = Arc::new(Authority::open(&folder.path().join("mesh"), clock.now()).unwrap());
        let links = Arc::new(TestLinks::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mesh = MeshSettings { listen: Some(address), ..mesh(None, None) };
        let issuer = TokenIssuer::new(&mesh, &authority, nodes.clone()).unwrap();
        let desk = Arc::new(JoinDesk::new(JoinDeskArgs {
            authority: authority.clone(),
            nodes: nodes.clone(),
            join_secret: join_secret.map(str::to_owned),
            reserved: vec![NodeName::from("local-hub")],
            links: links.clone(),
            clock: clock.clone(),
            patience,
        }));
        let (told, outcomes) = mpsc::unbounded_channel();
        let (called, callers) = mpsc::unbounded_channel();
        tokio::spawn(listen(listener, authority.server_config(), desk.clone(), told, called));
        Hub { desk, nodes, issuer, store, secrets, audit, clock, address, links, outcomes, callers, folder }
    }

    async fn token(&self, region: &str, node: Option<&str>) -> JoinToken {
        let order = TokenOrder {
            region: RegionName::from(region),
            node: node.map(NodeName::from),
            lifetime: Duration::from_secs(86_400),
            address: None,
        };
        self.issuer.issue(&order, &author()).await.unwrap()
    }

    async fn outcome(&mut self) -> Result<Joined, JoinError> {
        tokio::time::timeout(LIMIT, self.outcomes.recv()).await.expect("the hub comes to an end with it").expect("it listens")
    }

    async fn caller(&mut self) -> CertificateFacts {
        tokio::time::timeout(LIMIT, self.callers.recv()).await.expect("somebody calls").expect("it listens")
    }

    fn standing(&self, files: &NodeFiles) -> Standing {
        self.nodes.standing(files.identity(), &files.facts().serial)
    }

    /// A machine joins with a token, or with the shared secret.
    async fn join(&self, token: Option<&JoinToken>, region: &str, node: &str, folder: &Path) -> Result<NodeFiles, JoinError> {
        let credential = token.map_or_else(|| Credential::Shared(JoinKey::of_text(SECRET)), Credential::of_token);
        join(&order(self.address, credential, region, node, folder), &self.clock).await
    }

    async fn finish(self) {
        self.store.shutdown().await.unwrap();
    }
}

async fn listen(
    listener: TcpListener,
    config: Arc<rustls::ServerConfig>,
    desk: Arc<JoinDesk>,
    told: mpsc::UnboundedSender<Result<Joined, JoinError>>,
    called: mpsc::UnboundedSender<CertificateFacts>,
) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (acceptor, desk, told, called) = (TlsAcceptor::from(config.clone()), desk.clone(), told.clone(), called.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            match stream.get_ref().1.peer_certificates() {
                Some([leaf, ..]) => drop(called.send(CertificateFacts::read(leaf).unwrap())),
                _ => drop(told.send(answer(stream, &desk).await)),
            }
        });
    }
}

fn order(address: SocketAddr, credential: Credential, region: &str, node: &str, folder: &Path) -> JoinOrder {
    JoinOrder { address: address.to_string(), credential, identity: Identity::new(region, node).unwrap(), folder: folder.to_owned() }
}

fn mesh(hub: Option<String>, join_secret: Option<String>) -> MeshSettings {
    MeshSettings {
        listen: None,
        address: None,
        hub,
        join_secret,
        heartbeat: Duration::from_secs(2),
        deadline: Duration::from_secs(8),
        catch_up_bytes_per_s: 4 << 20,
    }
}

/// What the hub refused with; the node must have been told the same.
fn both_refused(node: &Result<NodeFiles, JoinError>, hub: &Result<Joined, JoinError>) -> Refusal {
    let Err(JoinError::Refused { refusal: here, reason }) = node else { panic!("the node: {node:?}") };
    let Err(JoinError::Refused { refusal: there, reason: said }) = hub else { panic!("the hub: {hub:?}") };
    assert_eq!((here, reason), (there, said));
    *here
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection as a stranger makes it.
async fn stranger(address: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let builder = rustls::ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let config = builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusting)).with_no_client_auth();
    let tcp = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(NodeFiles::hub_name(), tcp).await.unwrap()
}

/// A stranger that has proven a token's secret by hand; what follows is up to the test.
async fn proven(hub: &Hub, token: &JoinToken) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut stream = stranger(hub.address).await;
    let exporter = stream.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, None).unwrap();
    let hello = FromNode::Hello { nonce: [1; 32], credential: CredentialName::Token(token.id) };
    frames::write(&mut stream, &hello, LIMIT).await.unwrap();
    let FromHub::Nonce { nonce } = frames::read(&mut stream, LIMIT).await.unwrap() else { panic!("no nonce") };
    let session = Session { node: [1; 32], hub: nonce, exporter };
    let key = JoinKey::of_token(&token.secret);
    frames::write(&mut stream, &FromNode::Proof { tag: key.prove(End::Node, &session) }, LIMIT).await.unwrap();
    let FromHub::Proof { tag, .. } = frames::read(&mut stream, LIMIT).await.unwrap() else { panic!("no proof") };
    assert!(key.verify(End::Hub, &session, &tag));
    stream
}

/// Dials as a node that has joined, and waits until the hub has taken or refused the certificate.
async fn dial(hub: &Hub, files: &NodeFiles) -> std::io::Result<()> {
    let tcp = TcpStream::connect(hub.address).await?;
    let mut stream = TlsConnector::from(files.client_config()).connect(NodeFiles::hub_name(), tcp).await?;
    match stream.read(&mut [0; 1]).await {
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof && error.kind() != std::io::ErrorKind::ConnectionReset => {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_makes_a_machine_a_node_the_hub_knows_by_its_certificate() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let files = hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    let joined = hub.outcome().await.unwrap();
    assert_eq!((&joined.identity, joined.by, joined.again), (files.identity(), JoinedBy::Token(token.id), false));
    assert_eq!(joined.serial, files.facts().serial);
    assert_eq!(files.cookie, hub.desk.authority.cookie());
    assert_eq!(files.cookie.len(), 64);

    dial(&hub, &files).await.unwrap();
    let caller = hub.caller().await;
    assert_eq!(&caller, files.facts());
    assert_eq!(hub.nodes.standing(&caller.identity, &caller.serial), Standing::Good);

    let again = NodeFiles::load(folder.path()).unwrap().expect("it was saved");
    assert_eq!((again.identity(), again.facts(), &again.hub), (files.identity(), files.facts(), &hub.address.to_string()));
    dial(&hub, &again).await.unwrap();
    for file in [folder.path().join("node.json"), hub.folder.path().join("mesh/authority.pem"), hub.folder.path().join("mesh/hub.pem")] {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    assert_eq!(hub.desk.counts().get("joined"), Some(&1));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_once_even_for_many_at_the_same_time() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let names: Vec<String> = (0..6).map(|index| format!("eu-{index}")).collect();
    let folders: Vec<_> = names.iter().map(|name| folder.path().join(name)).collect();
    let all = names.iter().zip(&folders).map(|(name, folder)| hub.join(Some(&token), "eu-west", name, folder));
    let joined: Vec<_> = rocket::futures::future::join_all(all).await;
    assert_eq!(joined.iter().filter(|joined| joined.is_ok()).count(), 1, "{joined:?}");
    for refused in joined.iter().filter(|joined| joined.is_err()) {
        assert!(matches!(refused, Err(JoinError::Refused { refusal: Refusal::Used, .. })), "{refused:?}");
    }
    assert_eq!(hub.nodes.list().len(), 1);
    for _ in 0..6 {
        let _ = hub.outcome().await;
    }
    let late = hub.join(Some(&token), "eu-west", "eu-9", folder.path()).await;
    assert_eq!(both_refused(&late, &hub.outcome().await), Refusal::Used);
    assert!(NodeFiles::load(folder.path()).unwrap().is_none());
    // Its secret is nowhere any more.
    assert!(hub.nodes.token(&token.id).unwrap().unwrap().secret.is_none());
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_expired_and_revoked_tokens_are_refused_with_the_reason() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let good = hub.token("eu-west", None).await;
    let wrong_secret = JoinToken { secret: [0; 32], ..good.clone() };
    let unknown = JoinToken { id: [0; 8], ..good.clone() };
    let mut reasons = BTreeSet::new();
    for token in [&wrong_secret, &unknown] {
        let refused = hub.join(Some(token), "eu-west", "eu-1", folder.path()).await;
        assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Unknown);
        reasons.insert(refused.unwrap_err().to_string());
    }
    assert_eq!(reasons.len(), 1, "who guesses does not learn which tokens there are: {reasons:?}");

    let revoked = hub.token("eu-west", None).await;
    let id = hub.nodes.tokens().into_iter().find(|record| probemesh::mesh::identity::hexadecimal(&revoked.id) == record.id).unwrap().id;
    hub.nodes.revoke_token(&id, &author()).await.unwrap();
    let refused = hub.join(Some(&revoked), "eu-west", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Unknown);

    hub.clock.advance(Duration::from_secs(86_400)).await;
    let refused = hub.join(Some(&good), "eu-west", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Expired);
    assert!(hub.nodes.list().is_empty() && NodeFiles::load(folder.path()).unwrap().is_none());
    assert_eq!((hub.desk.counts()["unknown"], hub.desk.counts()["expired"]), (3, 1));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_its_region_and_node_and_no_other() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let fixed = hub.token("eu-west", Some("eu-1")).await;
    for (region, node, refusal) in
        [("us-east", "eu-1", Refusal::Scope), ("eu-west", "eu-2", Refusal::Scope), ("eu-west", "local-hub", Refusal::Taken)]
    {
        let refused = hub.join(Some(&fixed), region, node, folder.path()).await;
        assert_eq!(both_refused(&refused, &hub.outcome().await), refusal, "{region} {node}");
    }
    // None of it used the token up.
    hub.join(Some(&fixed), "eu-west", "eu-1", folder.path()).await.unwrap();
    hub.outcome().await.unwrap();
    let elsewhere = hub.token("us-east", None).await;
    let refused = hub.join(Some(&elsewhere), "us-east", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Taken);
    assert_eq!(hub.nodes.node(&NodeName::from("eu-1")).unwrap().identity.region, RegionName::from("eu-west"));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_decides_the_names_whatever_the_request_says() {
    let mut hub = Hub::new().await;
    let token = hub.token("eu-west", None).await;
    for (region, node) in [("eu-west", "../evil"), ("eu-west", "hub.probemesh.internal"), ("eu-west", "")] {
        let mut stream = proven(&hub, &token).await;
        let csr_pem = Renewal::new(&Identity::new("eu-west", "x").unwrap()).csr_pem;
        let request = FromNode::Request { region: region.to_owned(), node: node.to_owned(), csr_pem };
        frames::write(&mut stream, &request, LIMIT).await.unwrap();
        let said = frames::read(&mut stream, LIMIT).await.unwrap();
        assert!(matches!(said, FromHub::Refused { refusal: Refusal::Name, .. }), "{said:?}");
        assert!(hub.outcome().await.is_err());
    }
    // A request full of other names: a subject, a region, the hub's own DNS name, and the rights of an authority.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["hub.probemesh.internal".to_owned()]).unwrap();
    Identity::new("us-east", "us-1").unwrap().write_into(&mut params);
    params.subject_alt_names.push(rcgen::SanType::DnsName("hub.probemesh.internal".try_into().unwrap()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let csr_pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let mut stream = proven(&hub, &token).await;
    let request = FromNode::Request { region: "eu-west".to_owned(), node: "eu-1".to_owned(), csr_pem };
    frames::write(&mut stream, &request, LIMIT).await.unwrap();
    let FromHub::Granted { certificate_pem, .. } = frames::read(&mut stream, LIMIT).await.unwrap() else { panic!("not granted") };
    let leaf = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
    assert_eq!(Identity::from_certificate(&leaf).unwrap(), Identity::new("eu-west", "eu-1").unwrap());
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    assert!(!parsed.is_ca() && !format!("{:?}", parsed.subject_alternative_name()).contains("hub.probemesh"));
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);

    // One that is no request at all, and one whose key nobody showed to own.
    for csr_pem in ["nonsense".to_owned(), "x".repeat(20_000)] {
        let token = hub.token("eu-west", None).await;
        let mut stream = proven(&hub, &token).await;
        let request = FromNode::Request { region: "eu-west".to_owned(), node: "eu-2".to_owned(), csr_pem };
        frames::write(&mut stream, &request, LIMIT).await.unwrap();
        let said = frames::read(&mut stream, LIMIT).await.unwrap();
        assert!(matches!(said, FromHub::Refused { refusal: Refusal::Request, .. }), "{said:?}");
    }
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_in_between_with_a_certificate_of_his_own_is_refused_by_both() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap();
    // He has an authority whose certificate bears the very name of the hub.
    let his = Authority::open(&folder.path().join("his"), hub.clock.now()).unwrap();
    let target = hub.address;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = relay.accept().await {
            let mut node = TlsAcceptor::from(his.server_config()).accept(tcp).await.unwrap();
            let mut hub = stranger(target).await;
            let _ = tokio::io::copy_bidirectional(&mut node, &mut hub).await;
        }
    });
    for credential in [Credential::of_token(&token), Credential::Shared(JoinKey::of_text(SECRET))] {
        let node = join(&order(address, credential, "eu-west", "eu-1", folder.path()), &hub.clock).await;
        assert_eq!(both_refused(&node, &hub.outcome().await), Refusal::Unknown);
    }
    assert!(hub.nodes.list().is_empty() && NodeFiles::load(folder.path()).unwrap().is_none());
    // The same line straight to the hub shows that it was the relay, and that he could not use it up.
    hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    hub.outcome().await.unwrap();
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_passes_for_the_hub_without_the_secret_gets_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::real();
    let his = Authority::open(&folder.path().join("his"), clock.now()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // First he sends the node's own proof back, then one he made up.
        for reflect in [true, false] {
            let (tcp, _) = listener.accept().await.unwrap();
            let mut node = TlsAcceptor::from(his.server_config()).accept(tcp).await.unwrap();
            let hello: FromNode = frames::read(&mut node, LIMIT).await.unwrap();
            let FromNode::Hello { nonce, .. } = hello else { panic!("no hello") };
            frames::write(&mut node, &FromHub::Nonce { nonce }, LIMIT).await.unwrap();
            let FromNode::Proof { tag } = frames::read(&mut node, LIMIT).await.unwrap() else { panic!("no proof") };
            let tag = if reflect { tag } else { [7; 32] };
            let now = Clock::real().now().0;
            frames::write(&mut node, &FromHub::Proof { tag, now }, LIMIT).await.unwrap();
            told.send(frames::read::<FromNode>(&mut node, LIMIT).await).unwrap();
        }
    });
    for _ in 0..2 {
        let key = JoinKey::of_token(&[9; 32]);
        let credential = Credential::Token { id: [1; 8], key, fingerprint: [0; 32] };
        let node = join(&order(address, credential, "eu-west", "eu-1", folder.path()), &clock).await;
        assert!(matches!(node, Err(JoinError::Proof)), "{node:?}");
        let next = heard.recv().await.unwrap();
        assert!(matches!(next, Err(JoinError::Broken { .. })), "the node said more: {next:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_than_the_token_names_is_not_believed() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = JoinToken { fingerprint: [0; 32], ..hub.token("eu-west", None).await };
    let refused = hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await;
    assert!(matches!(refused, Err(JoinError::Fingerprint)), "{refused:?}");
    assert!(hub.outcome().await.is_ok() && NodeFiles::load(folder.path()).unwrap().is_none());
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_days_off_is_told_before_the_token_is_used_up() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let order = order(hub.address, Credential::of_token(&token), "eu-west", "eu-1", folder.path());
    for off in [-3i64, 3] {
        let clock = Clock::manual(hub.clock.now());
        clock.step_wall(off * 86_400_000_000);
        let refused = join(&order, &clock).await;
        assert!(matches!(refused, Err(JoinError::Clock { .. })), "{refused:?}");
        assert!(hub.outcome().await.is_err());
    }
    // Hours are not days: it joins, and its certificate is good by its own clock.
    let clock = Clock::manual(hub.clock.now());
    clock.step_wall(-20 * 3_600_000_000);
    let files = join(&order, &clock).await.unwrap();
    assert_eq!(files.check(clock.now()), Ok(()));
    let early = files.facts().not_before.minus(Duration::from_secs(1));
    assert!(matches!(files.check(early), Err(NodeFilesError::Early { .. })));
    assert!(matches!(files.check(files.facts().not_after.plus(Duration::from_secs(1))), Err(NodeFilesError::Ended { .. })));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_oversized_and_slow_frames_are_refused_and_harm_nobody() {
    let mut hub = Hub::with(Some(SECRET), Duration::from_millis(300)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut oversized = b"PMJ\x01".to_vec();
    oversized.extend_from_slice(&(65_537u32).to_be_bytes());
    let mut nonsense = b"PMJ\x01".to_vec();
    nonsense.extend_from_slice(&3u32.to_be_bytes());
    nonsense.extend_from_slice(&[250, 250, 250]);
    let cases: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", "garbage"),
        (&[0; 64], "garbage"),
        (b"PMJ\x09", "version"),
        (&oversized, "oversized"),
        (&nonsense, "garbage"),
        (b"PM", "silent"),
    ];
    for (bytes, label) in cases {
        let mut stream = stranger(hub.address).await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(hub.outcome().await.unwrap_err().label(), label, "{bytes:?}");
        if label == "version" {
            let said: FromHub = frames::read(&mut stream, LIMIT).await.unwrap();
            assert!(matches!(said, FromHub::Refused { refusal: Refusal::Version, .. }), "{said:?}");
        }
    }
    // A byte now and then keeps nobody waiting: the whole frame must come in time.
    let slow = tokio::spawn({
        let mut stream = stranger(hub.address).await;
        async move {
            let mut frame = b"PMJ\x01".to_vec();
            frame.extend_from_slice(&1000u32.to_be_bytes());
            frame.resize(1008, 0);
            for byte in frame {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(40)).await;
            }
        }
    });
    let token = hub.token("eu-west", None).await;
    hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    let ends = [hub.outcome().await, hub.outcome().await];
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1, "{ends:?}");
    assert!(ends.iter().any(|end| matches!(end, Err(JoinError::Silent { .. }))), "{ends:?}");
    slow.abort();
    // Frames in a wrong order are garbage too.
    let mut stream = stranger(hub.address).await;
    frames::write(&mut stream, &FromNode::Proof { tag: [0; 32] }, LIMIT).await.unwrap();
    assert_eq!(hub.outcome().await, Err(JoinError::Garbage));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_away_or_something_else_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::real();
    let credential = || Credential::Token { id: [1; 8], key: JoinKey::of_token(&[9; 32]), fingerprint: [0; 32] };
    let nobody: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let error = join(&order(nobody, credential(), "eu", "eu-1", folder.path()), &clock).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("hub {nobody} is not reachable: ")) && text.contains("(waited 0."), "{text}");

    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut tcp, _) = plain.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let error = join(&order(address, credential(), "eu", "eu-1", folder.path()), &clock).await.unwrap_err();
    assert_eq!(error.label(), "tls", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_lived_secret_joins_and_takes_over_from_the_dead_alone() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let first = hub.join(None, "eu-west", "eu-1", folder.path()).await.unwrap();
    assert_eq!(hub.outcome().await.unwrap().by, JoinedBy::Shared);
    assert_eq!(hub.nodes.list()[0].joined_by, "join secret");

    let wrong = Credential::Shared(JoinKey::of_text("another secret, as long as that"));
    let refused = join(&order(hub.address, wrong, "eu-west", "eu-2", folder.path()), &hub.clock).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Unknown);

    hub.links.living.lock().unwrap().insert(NodeName::from("eu-1"));
    let refused = hub.join(None, "eu-west", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Taken);
    assert_eq!(hub.standing(&first), Standing::Good, "the living node is undisturbed");

    hub.links.living.lock().unwrap().clear();
    let second = hub.join(None, "eu-west", "eu-1", folder.path()).await.unwrap();
    assert!(hub.outcome().await.unwrap().again);
    assert_eq!((hub.standing(&first), hub.standing(&second)), (Standing::Replaced, Standing::Good));

    hub.nodes.revoke("eu-1", &author()).await.unwrap();
    let refused = hub.join(None, "eu-west", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &hub.outcome().await), Refusal::Revoked);
    hub.finish().await;

    let mut without = Hub::with(None, PATIENCE).await;
    let refused = without.join(None, "eu-west", "eu-1", folder.path()).await;
    assert_eq!(both_refused(&refused, &without.outcome().await), Refusal::NoSecret);
    without.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_replaces_a_node_and_brings_a_revoked_one_back() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..2 {
        let token = hub.token("eu-west", None).await;
        hub.links.living.lock().unwrap().insert(NodeName::from("eu-1"));
        all.push(hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap());
        assert_eq!(hub.outcome().await.unwrap().again, round > 0);
    }
    assert_eq!(*hub.links.replaced.lock().unwrap(), ["eu-1"], "whoever is connected in its name is cut off");
    assert_eq!((hub.standing(&all[0]), hub.standing(&all[1])), (Standing::Replaced, Standing::Good));
    assert!(hub.nodes.is_revoked(all[0].identity(), &all[0].facts().serial));

    hub.nodes.revoke("eu-1", &author()).await.unwrap();
    assert_eq!(hub.standing(&all[1]), Standing::Revoked);
    assert!(hub.desk.renew(all[1].identity(), &all[1].facts().serial, &all[1].renewal_request().csr_pem).await.is_err());
    let token = hub.token("eu-west", None).await;
    let back = hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    assert_eq!((hub.standing(&all[1]), hub.standing(&back)), (Standing::Replaced, Standing::Good));
    let stranger = Identity::new("eu-west", "eu-7").unwrap();
    assert_eq!(hub.nodes.standing(&stranger, "00"), Standing::Unknown);
    let elsewhere = Identity::new("us-east", "eu-1").unwrap();
    assert_eq!(hub.nodes.standing(&elsewhere, &back.facts().serial), Standing::OtherRegion);

    // All of it is in the store, and in the audit log.
    hub.nodes.seen(&NodeName::from("eu-1"), hub.clock.now());
    hub.nodes.store_seen().await.unwrap();
    let again = Nodes::open(hub.store.database.clone(), hub.secrets.clone(), hub.audit.clone(), hub.clock.clone()).await.unwrap();
    assert_eq!((again.list(), again.tokens()), (hub.nodes.list(), hub.nodes.tokens()));
    assert_eq!(again.list()[0].last_seen, Some(hub.clock.now()));
    let (_, log) = hub.audit.page(0, 20).await.unwrap();
    let actions: Vec<&str> = log.iter().rev().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions,
        ["join_token.create", "node.join", "join_token.create", "node.join", "node.revoke", "join_token.create", "node.join"]
    );
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_renews_over_its_own_link_and_either_certificate_serves_until_the_next() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let first = hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    hub.outcome().await.unwrap();
    let day = Duration::from_secs(86_400);
    assert!(!first.renewal_due(hub.clock.now()) && !first.renewal_due(hub.clock.now().plus(19 * day)));
    assert!(first.renewal_due(hub.clock.now().plus(20 * day)));
    let mut kept = vec![first];
    for _ in 0..2 {
        let files = kept.last().unwrap();
        let renewal = files.renewal_request();
        let issued = hub.desk.renew(files.identity(), &files.facts().serial, &renewal.csr_pem).await.unwrap();
        let next = files.install(&renewal, &issued.pem).unwrap();
        assert_eq!((&next.facts().serial, next.identity()), (&issued.serial, files.identity()));
        assert!(files.install(&files.renewal_request(), &issued.pem).is_err(), "a certificate without its key");
        kept.push(next);
    }
    let standings: Vec<Standing> = kept.iter().map(|files| hub.standing(files)).collect();
    assert_eq!(standings, [Standing::Replaced, Standing::Good, Standing::Good]);
    assert_eq!(NodeFiles::load(folder.path()).unwrap().unwrap().facts(), kept[2].facts());
    dial(&hub, &kept[2]).await.unwrap();
    assert_eq!(hub.caller().await.serial, kept[2].facts().serial);
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_the_same_after_a_restart_and_a_node_cannot_pass_for_the_hub() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let files = hub.join(Some(&token), "eu-west", "eu-1", folder.path()).await.unwrap();
    hub.outcome().await.unwrap();
    let place = hub.folder.path().join("mesh");
    let hub_pem = std::fs::read(place.join("hub.pem")).unwrap();
    let again = Authority::open(&place, hub.clock.now()).unwrap();
    assert_eq!((again.fingerprint(), again.cookie()), (hub.desk.authority.fingerprint(), hub.desk.authority.cookie()));
    assert_eq!(std::fs::read(place.join("hub.pem")).unwrap(), hub_pem);
    // Near its end the hub's certificate is made anew, by the same authority.
    Authority::open(&place, hub.clock.now().plus(Duration::from_secs(400 * 86_400))).unwrap();
    assert_ne!(std::fs::read(place.join("hub.pem")).unwrap(), hub_pem);
    std::fs::write(place.join("authority.pem"), "nonsense").unwrap();
    let error = Authority::open(&place, hub.clock.now()).unwrap_err().to_string();
    assert!(error.contains("authority.pem is broken"), "{error}");

    // Another node trusts nobody but the hub, not even one of its own kind.
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join("node.json")).unwrap()).unwrap();
    let leaf = CertificateDer::from_pem_slice(kept["certificate"].as_str().unwrap().as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(kept["key"].as_str().unwrap().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![leaf], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
    });
    let tcp = TcpStream::connect(address).await.unwrap();
    let error = TlsConnector::from(files.client_config()).connect(NodeFiles::hub_name(), tcp).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_the_secret_waits_for_its_hub_and_one_without_says_what_to_do() {
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions/eu-west.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "[region]\nname = \"eu-west\"\nnode = \"eu-1\"\ndata_dir = \"data\"\n").unwrap();
    let sources = Sources { dir: folder.path().to_owned(), environment: Vec::new(), role: Role::Region("regions/eu-west.toml".into()) };
    let region = Config::load(&sources).unwrap().region;
    let clock = Clock::real();

    let stranger = ensure_joined(&mesh(None, None), &region, &clock).await.unwrap_err().to_string();
    assert!(stranger.contains("probemesh join <token>") && stranger.contains("region-token eu-west"), "{stranger}");
    let nowhere = ensure_joined(&mesh(None, Some(SECRET.to_owned())), &region, &clock).await.unwrap_err();
    assert_eq!(nowhere, EnsureError::NoHub);

    // The way to the hub opens after the first try has failed.
    let (away, target) = (free_port(), hub.address);
    let waiting = mesh(Some(format!("127.0.0.1:{away}")), Some(SECRET.to_owned()));
    let open = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let relay = TcpListener::bind(("127.0.0.1", away)).await.unwrap();
        let (mut node, _) = relay.accept().await.unwrap();
        let mut hub = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut node, &mut hub).await;
    };
    let (files, ()) = tokio::join!(ensure_joined(&waiting, &region, &clock), open);
    let files = files.unwrap();
    assert_eq!(*files.identity(), Identity::new("eu-west", "eu-1").unwrap());
    hub.outcome().await.unwrap();

    // The next start finds its files and asks nobody; a newer address in the configuration counts.
    let kept = ensure_joined(&mesh(Some("hub.example.com:4697".to_owned()), None), &region, &clock).await.unwrap();
    assert_eq!((kept.facts(), kept.hub.as_str()), (files.facts(), "hub.example.com:4697"));
    let renamed = probemesh::config::sections::RegionSettings { node: NodeName::from("eu-2"), ..region };
    let error = ensure_joined(&mesh(None, None), &renamed, &clock).await.unwrap_err();
    assert!(matches!(error, EnsureError::OtherNode { .. }), "{error}");
    hub.finish().await;
}

fn console(output: &std::process::Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

async fn run_join(folder: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = program();
    command.current_dir(folder).arg("join").args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    console(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_joins_a_machine_and_its_mistakes_are_one_line_each() {
    // The command runs by the real clock, and so must the hub.
    let mut hub = Hub::new().await;
    let folder = tempfile::tempdir().unwrap();
    let token = hub.token("eu-west", None).await;
    let line = token.line();
    let (ok, said, wrong) = run_join(folder.path(), &[&line, "--name", "eu-1"]).await;
    assert!(ok, "{said}{wrong}");
    assert!(said.contains("as eu-1 of region eu-west") && said.contains("next:  probemesh region --config regions/eu-west.toml"), "{said}");
    hub.outcome().await.unwrap();
    let sources = Sources { dir: folder.path().to_owned(), environment: Vec::new(), role: Role::Region("regions/eu-west.toml".into()) };
    let config = Config::load(&sources).unwrap();
    assert_eq!((&*config.region.name.0, &*config.region.node.0, config.mesh.hub), ("eu-west", "eu-1", Some(hub.address.to_string())));
    let files = NodeFiles::load(&config.region.data_dir.join("mesh")).unwrap().expect("the node's files are where its region looks");
    dial(&hub, &files).await.unwrap();
    assert_eq!(hub.caller().await.identity, Identity::new("eu-west", "eu-1").unwrap());
    assert_eq!(std::fs::metadata(config.region.data_dir.join("mesh/node.json")).unwrap().permissions().mode() & 0o777, 0o600);

    let used = run_join(folder.path(), &[&line]).await;
    let garbled = run_join(folder.path(), &[&line[1..]]).await;
    let other = run_join(folder.path(), &[&hub.token("eu-west", None).await.line(), "--name", "eu-2"]).await;
    let fixed = run_join(folder.path(), &[&hub.token("us-east", Some("us-1")).await.line(), "--name", "us-2"]).await;
    let nobody = JoinToken { address: format!("127.0.0.1:{}", free_port()), ..hub.token("ap-south", None).await };
    let away = run_join(folder.path(), &[&nobody.line(), "--dir", "elsewhere"]).await;
    let expired = JoinToken { expires_at: hub.clock.now().minus(Duration::from_secs(1)), ..token };
    let expired = run_join(folder.path(), &[&expired.line()]).await;
    for (index, ((ok, _, wrong), expected)) in [
        (used, "refused: the token was used already at "),
        (garbled, "join token is cut off or mistyped"),
        (other, "regions/eu-west.toml is there already and is of node eu-1, not of eu-2; --force writes it anew"),
        (fixed, "the token is for node us-1, not for us-2"),
        (away, "is not reachable: "),
        (expired, "join token expired at "),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(!ok && wrong.lines().count() == 1 && wrong.starts_with("probemesh: ") && wrong.contains(expected), "case {index}: {wrong}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("elsewhere/regions")).unwrap().count(), 0, "a join that failed leaves no file");
    // A new token for the same node keeps the file a person may have edited; --force does not.
    let path = folder.path().join("regions/eu-west.toml");
    let mine = std::fs::read_to_string(&path).unwrap() + "# mine\n";
    std::fs::write(&path, &mine).unwrap();
    let (ok, said, wrong) = run_join(folder.path(), &[&hub.token("eu-west", None).await.line()]).await;
    assert!(ok && said.contains("left regions/eu-west.toml as it is"), "{said}{wrong}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), mine);
    assert_eq!(hub.standing(&files), Standing::Replaced);
    let (ok, said, wrong) = run_join(folder.path(), &[&hub.token("eu-west", None).await.line(), "--name", "eu-2", "--force"]).await;
    assert!(ok && said.contains("wrote regions/eu-west.toml"), "{said}{wrong}");
    assert!(!std::fs::read_to_string(&path).unwrap().contains("# mine"));
    hub.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_nodes_are_made_listed_and_ended_over_the_api() {
    let world = World::new().await;
    let admin = world.token("admin").await;
    let made = world.post("/api/v1/regions/eu-west/tokens/", Some(&admin), json!({"node": "eu-1", "expires_s": 3600})).await.expect(201);
    let token: JoinToken = made["token"].as_str().unwrap().parse().unwrap();
    assert_eq!((token.address.as_str(), token.fingerprint), ("hub.example:4697", world.authority.fingerprint()));
    assert_eq!(token.expires_at, world.clock.now().plus(Duration::from_secs(3600)));
    assert_eq!(made["commands"][0], format!("probemesh join {}", token.line()));
    assert_eq!(made["commands"][1], "probemesh region --config regions/eu-west.toml");

    let wrong = [
        ("eu-west", json!({"node": "a b"}), "node"),
        ("eu-west", json!({"node": "hub"}), "node"),
        ("eu-west", json!({"expires_s": 1}), "expires_s"),
        ("eu-west", json!({"address": "a b"}), "address"),
        ("eu-west", json!({"colour": "red"}), "colour"),
        ("eu%20west", json!({}), "region"),
    ];
    for (region, body, field) in wrong {
        assert_eq!(world.post(&format!("/api/v1/regions/{region}/tokens"), Some(&admin), body).await.problem(422), [field]);
    }
    let list = world.get("/api/v1/regions/tokens/", Some(&admin)).await.expect(200);
    assert_eq!((&list["count"], &list["results"][0]["state"], &list["results"][0]["id"]), (&json!(1), &json!("open"), &made["id"]));
    let line = token.line();
    assert!(!list.to_string().contains(&line[40..60]), "the list holds the token");

    let identity = Identity::new("eu-west", "eu-1").unwrap();
    let issued = world.authority.issue(&Renewal::new(&identity).csr_pem, &identity, world.clock.now()).unwrap();
    world.nodes.join(JoinedBy::Token(token.id), &identity, &issued, false).await.unwrap();
    let list = world.get("/api/v1/regions/tokens", Some(&admin)).await.expect(200);
    assert_eq!((&list["results"][0]["state"], &list["results"][0]["used_by"]), (&json!("used"), &json!("eu-1")));
    let id = made["id"].as_str().unwrap();
    world.send(Method::Delete, &format!("/api/v1/regions/tokens/{id}/"), Some(&admin), None).await.expect(204);
    world.send(Method::Delete, &format!("/api/v1/regions/tokens/{id}/"), Some(&admin), None).await.problem(404);

    let revoked = world.post("/api/v1/nodes/eu-1/revoke/", Some(&admin), json!({})).await.expect(200);
    assert_eq!((&revoked["name"], &revoked["region"]), (&json!("eu-1"), &json!("eu-west")));
    assert!(revoked["revoked_at"].is_string());
    assert_eq!(*world.revoked.lock().unwrap(), ["eu-1"]);
    assert!(world.nodes.is_revoked(&identity, &issued.serial));
    world.post("/api/v1/nodes/nobody/revoke/", Some(&admin), json!({})).await.problem(404);
    let log = world.get("/api/v1/audit", Some(&admin)).await.expect(200).to_string();
    for action in ["join_token.create", "join_token.revoke", "node.join", "node.revoke"] {
        assert!(log.contains(action), "{action} is not in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_machine_makes_tokens_with_and_without_a_running_hub() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let (ok, _, wrong) = console(&run(folder.path(), port, &["region-token", "eu-west"]));
    assert!(!ok && wrong.contains("mesh.listen"), "{wrong}");
    std::fs::write(folder.path().join("Rocket.toml"), "[mesh]\nlisten = \"127.0.0.1:4697\"\naddress = \"hub.example\"\n").unwrap();
    let take = |arguments: &[&str]| {
        let (ok, said, wrong) = console(&run(folder.path(), port, arguments));
        assert!(ok, "{arguments:?}: {said}{wrong}");
        said
    };
    let mut fingerprints = BTreeSet::new();
    let mut binary = None;
    for round in 0..2 {
        let said = take(&["region-token", "eu-west", "--node", "eu-1", "--expires", "2h"]);
        let token: JoinToken = said.lines().next().unwrap().parse().unwrap();
        assert_eq!((&*token.region.0, token.address.as_str()), ("eu-west", "hub.example:4697"));
        assert!(said.contains(&format!("probemesh join {}", token.line())), "{said}");
        fingerprints.insert(token.fingerprint);
        let listed = take(&["region-token", "--list"]);
        assert_eq!(listed.matches("open").count(), round + 1, "{listed}");
        if round == 0 {
            binary = Some(Binary::start(folder.path(), port).await);
        }
    }
    assert_eq!(fingerprints.len(), 1, "the authority is one");
    let listed: Value = serde_json::from_str(&take(&["region-token", "--list", "--json"])).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    take(&["region-token", "--revoke", id]);
    assert_eq!(take(&["region-token", "--list"]).lines().count(), 1);
    assert_eq!(take(&["node", "list"]), "");
    let (ok, _, wrong) = console(&run(folder.path(), port, &["node", "revoke", "nobody"]));
    assert!(!ok && wrong.contains("there is no node \"nobody\""), "{wrong}");
    drop(binary);
}
