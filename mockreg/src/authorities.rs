//! Whose certificates are believed where this program is a client under TLS: those of the system, as other programs
//! find them, and those given besides. Made into what rustls takes; who connects is not decided here.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use thiserror::Error;

/// Names the file with the system's certificates, as for OpenSSL and Go.
const FILE: &str = "SSL_CERT_FILE";
/// Names directories of such files, with colons between them.
const DIRECTORIES: &str = "SSL_CERT_DIR";

/// Where systems keep the certificates they trust, in one file; the first that is there counts.
const BUNDLES: [&str; 6] = [
    // Debian, Ubuntu, Arch, Gentoo.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL from 7 on.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // RHEL before.
    "/etc/pki/tls/certs/ca-bundle.crt",
    // openSUSE.
    "/etc/ssl/ca-bundle.pem",
    // Alpine, BSDs, macOS.
    "/etc/ssl/cert.pem",
    // NixOS.
    "/etc/ssl/certs/ca-bundle.crt",
];

/// Whose certificates to believe. By default those that the system trusts: what `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// name, else the first of the usual files that is there.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    given: Vec<CertificateDer<'static>>,
    unchecked: bool,
    /// Made when it is first needed; clones share it.
    config: Arc<OnceLock<Result<Arc<ClientConfig>, CertificateError>>>,
}

/// Why nobody can be believed, or a server is not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// A text that should be a list of certificates is none.
    #[error("no certificate of an authority can be read: {0}")]
    Malformed(String),
    /// The system's certificates are not where they are said to be.
    #[error("{path}, where {variable} says that the system's certificates are, cannot be used: {reason}")]
    System {
        /// `SSL_CERT_FILE` or `SSL_CERT_DIR`.
        variable: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// None was given, and none of the usual files is there.
    #[error(
        "nobody is known who could vouch for an https address: this system has no file of trusted certificates where \
         one usually is; name one with --ca, in SSL_CERT_FILE or in SSL_CERT_DIR, or check no certificate with \
         --insecure"
    )]
    Nobody,
    /// The TLS library takes no such settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(String),
    /// A server has a certificate that is not believed.
    #[error("nobody who is believed vouches for its certificate: {0}")]
    Untrusted(String),
}

impl CertificateError {
    /// [`CertificateError::Untrusted`] if that is why a handshake failed.
    pub fn of_handshake(error: &io::Error) -> Option<Self> {
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::InvalidCertificate(why) => Some(Self::Untrusted(why.to_string())),
            _ => None,
        }
    }
}

impl Authorities {
    /// Certificates in PEM, one or more, to believe besides those of the system.
    ///
    /// # Errors
    /// There is none, or one cannot be read.
    pub fn try_from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let malformed = |reason: &dyn std::fmt::Display| CertificateError::Malformed(reason.to_string());
        let given = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
        let given = given.map_err(|error| malformed(&error))?;
        if given.is_empty() {
            return Err(malformed(&"the text has no `BEGIN CERTIFICATE`"));
        }
        let mut roots = RootCertStore::empty();
        given.iter().try_for_each(|given| roots.add(given.clone())).map_err(|error| malformed(&error))?;
        Ok(Self { given, ..Self::default() })
    }

    /// Believes everybody: whoever is on the way can read and change what is sent.
    #[must_use]
    pub fn unchecked() -> Self {
        Self { unchecked: true, ..Self::default() }
    }

    /// Whether everybody is believed.
    pub fn is_unchecked(&self) -> bool {
        self.unchecked
    }

    /// How a client of HTTP/1.1 speaks TLS. Reads the system's certificates, the first time.
    ///
    /// # Errors
    /// There is nobody to believe, or what the environment names cannot be used.
    pub fn config(&self) -> Result<Arc<ClientConfig>, CertificateError> {
        self.config.get_or_init(|| self.made()).clone()
    }

    fn made(&self) -> Result<Arc<ClientConfig>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| CertificateError::Settings(error.to_string()))?;
        let builder = if self.unchecked {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Everybody(provider)))
        } else {
            builder.with_root_certificates(self.roots(system(|name| std::env::var_os(name), &BUNDLES)?)?)
        };
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self, system: Vec<CertificateDer<'static>>) -> Result<RootCertStore, CertificateError> {
        let mut roots = RootCertStore::empty();
        // Systems trust certificates so old that no client reads them any more.
        roots.add_parsable_certificates(system.into_iter().chain(self.given.iter().cloned()));
        if roots.is_empty() { Err(CertificateError::Nobody) } else { Ok(roots) }
    }
}

/// The system's certificates: of all that the variables name, else of the first of the usual files that has any.
fn system(
    variable: impl Fn(&str) -> Option<OsString>,
    usual: &[&str],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let [file, directories] =
        [FILE, DIRECTORIES].map(|name| variable(name).filter(|value| !value.is_empty()));
    if file.is_none() && directories.is_none() {
        let found = usual.iter().find_map(|path| certificates(Path::new(path)).ok());
        return Ok(found.unwrap_or_default());
    }
    let unusable = |variable, path| move |reason| CertificateError::System { variable, path, reason };
    let mut found = Vec::new();
    if let Some(path) = file.map(PathBuf::from) {
        found.extend(certificates(&path).map_err(unusable(FILE, path))?);
    }
    for path in directories.iter().flat_map(std::env::split_paths).filter(|path| !path.as_os_str().is_empty())
    {
        found.extend(certificates_in(&path).map_err(unusable(DIRECTORIES, path))?);
    }
    Ok(found)
}

/// The certificates of all files of a directory; files that hold none are passed over.
fn certificates_in(directory: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let entries = std::fs::read_dir(directory).map_err(|error| error.to_string())?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let found: Vec<_> = files.filter_map(|path| certificates(&path).ok()).flatten().collect();
    if found.is_empty() { Err("no file in it holds a certificate in PEM form".into()) } else { Ok(found) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    if found.is_empty() { Err("it holds no certificate in PEM form".into()) } else { Ok(found) }
}

/// Takes every certificate, but only from who has its key.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    #[test]
    fn the_systems_certificates_are_where_the_variable_says_or_where_they_usually_are() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (one, two) = (write("one", &authority()), write("two", &(authority() + &authority())));
        let (empty, missing) = (write("empty", "nothing"), "/nowhere/bundle.pem".to_owned());
        let found = |named: &str, usual: &[&str]| system(set(&[(FILE, named)]), usual).unwrap().len();
        assert_eq!(found("", &[&missing, &empty, &two, &one]), 2);
        assert_eq!(found("", &[&one, &two]), 1);
        assert_eq!(found(&two, &[&one]), 2);
        assert_eq!(found("", &[&missing]), 0);
        for (path, says) in [(&missing, "No such file"), (&empty, "holds no certificate")] {
            let error = system(set(&[(FILE, path)]), &[&one]).unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(says) && error.contains(FILE), "{error}");
        }
    }

    /// An environment with these variables.
    fn set<'a>(variables: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| variables.iter().find(|(given, _)| *given == name).map(|(_, value)| value.into())
    }

    #[test]
    fn directories_of_certificates_add_up_with_the_file() {
        let [one, two, bare] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let path = |directory: &tempfile::TempDir| directory.path().to_str().unwrap().to_owned();
        std::fs::write(one.path().join("a.pem"), authority()).unwrap();
        std::fs::write(two.path().join("0a1b2c3d.0"), authority()).unwrap();
        std::fs::write(two.path().join("README"), "no certificate").unwrap();
        std::fs::create_dir(two.path().join("java")).unwrap();
        let file = path(&one) + "/a.pem";
        let both = format!("{}::{}", path(&one), path(&two));
        let found = |variables: &[(&str, &str)]| system(set(variables), &[&file]).unwrap().len();
        assert_eq!(found(&[(DIRECTORIES, &path(&two))]), 1);
        assert_eq!(found(&[(DIRECTORIES, &both)]), 2);
        assert_eq!(found(&[(DIRECTORIES, &both), (FILE, &file)]), 3);
        assert_eq!(found(&[(DIRECTORIES, "")]), 1, "nothing is named: the usual file counts");
        for (directory, says) in [("/nowhere", "No such file"), (&path(&bare), "no file in it")] {
            let error = system(set(&[(DIRECTORIES, directory)]), &[&file]).unwrap_err().to_string();
            assert!(
                error.contains(directory) && error.contains(says) && error.contains(DIRECTORIES),
                "{error}"
            );
        }
    }

    #[test]
    fn those_given_are_believed_besides_those_of_the_system() {
        let given = Authorities::try_from_pem(authority().as_bytes()).unwrap();
        let system: Vec<_> =
            CertificateDer::pem_slice_iter(authority().as_bytes()).map(Result::unwrap).collect();
        assert_eq!(given.roots(system.clone()).unwrap().len(), 2);
        assert_eq!(Authorities::default().roots(system).unwrap().len(), 1);
        assert_eq!(Authorities::default().roots(Vec::new()).unwrap_err(), CertificateError::Nobody);
        let error = Authorities::try_from_pem(b"x").unwrap_err().to_string();
        assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    }
}
