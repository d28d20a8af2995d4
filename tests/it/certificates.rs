//! Certificates for servers and clients of the tests, made by openssl.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate authority, a server for 127.0.0.1 and secure.corp, and a client, named as Docker names their files.
pub fn make(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let script = r#"
        set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -days 2 -subj /CN=test-ca
        make() {
            openssl req -newkey rsa:2048 -nodes -keyout $1key.pem -out $1.csr -subj /CN=$2
            printf "subjectAltName=IP:127.0.0.1,DNS:secure.corp\nextendedKeyUsage=$3\n" > $1.ext
            openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile $1.ext -out $1cert.pem
        }
        make server- server serverAuth
        make '' client clientAuth
    "#;
    let made = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The server's side. Clients need a certificate of the same authority if `clients`.
pub fn acceptor(folder: &Path, clients: bool) -> TlsAcceptor {
    let certificate = |name: &str| CertificateDer::from_pem_file(folder.join(name)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = if clients {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        config.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(folder.join("server-key.pem")).unwrap();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate("server-cert.pem")], key).unwrap()))
}
