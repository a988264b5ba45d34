//! A certificate authority of one's own: a key and a certificate in a directory, made the first time and kept, so that
//! clients trust it once. Certificates it issues live in memory, for as long as their registry does.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::TlsError;
use crate::directory;

const KEY_FILE: &str = "ca-key.pem";
const CERTIFICATE_FILE: &str = "ca.pem";
/// The authority's name, for people who look at what they trust.
const NAME: &str = "mockreg test authority";
/// Certificates are good in these years, whatever a test machine's clock says; the last one is where X.509 changes how
/// it writes years.
const YEARS: (i32, i32) = (2000, 2049);

/// An authority that can issue certificates.
pub(crate) struct Authority {
    key: KeyPair,
    certificate: String,
}

impl Authority {
    /// A new one, kept nowhere.
    pub(crate) fn fresh() -> Result<Self, TlsError> {
        Self::of(KeyPair::generate().map_err(TlsError::Issue)?)
    }

    fn of(key: KeyPair) -> Result<Self, TlsError> {
        let certificate = own_params().self_signed(&key).map_err(TlsError::Issue)?.pem();
        Ok(Self { key, certificate })
    }

    /// The one in `directory`; made there if there is none. Two programs that do so at once end up with the same.
    pub(crate) fn open(directory: &Path) -> Result<Self, TlsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::File { path, source }
        };
        let made = if default_directory().is_some_and(|default| default == directory) {
            // Nobody spelt that one out, and a home may be new.
            std::fs::create_dir_all(directory)
        } else {
            directory::ensure(directory)
        };
        made.map_err(failed(directory))?;
        let path = directory.join(KEY_FILE);
        let key = kept(&path, || Ok(KeyPair::generate().map_err(TlsError::Issue)?.serialize_pem()))?;
        let key =
            KeyPair::from_pem(&key).map_err(|_| TlsError::Pem { path: path.clone(), what: "private key" })?;
        let mut authority = Self::of(key)?;
        let path = directory.join(CERTIFICATE_FILE);
        authority.certificate = kept(&path, || Ok(authority.certificate.clone()))?;
        let der = CertificateDer::from_pem_slice(authority.certificate.as_bytes())
            .map_err(|_| TlsError::Pem { path: path.clone(), what: "certificate" })?;
        // The certificate holds the public key as it is.
        let public = authority.key.public_key_raw();
        if !der.windows(public.len()).any(|window| window == public) {
            return Err(TlsError::Strangers { path });
        }
        Ok(authority)
    }

    /// Its certificate, as PEM: what clients have to trust.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a server with these names and addresses, and its key.
    pub(crate) fn issue(
        &self,
        names: Vec<String>,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
        let mut params = CertificateParams::new(names).map_err(TlsError::Issue)?;
        params.distinguished_name.push(DnType::CommonName, "mockreg");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) =
            (date_time_ymd(YEARS.0, 1, 1), date_time_ymd(YEARS.1, 12, 31));
        let key = KeyPair::generate().map_err(TlsError::Issue)?;
        // The issuer is a name and a key; both are the same whenever this is made.
        let issuer = Issuer::new(own_params(), &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(TlsError::Issue)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }
}

fn own_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(YEARS.0, 1, 1), date_time_ymd(YEARS.1, 12, 31));
    params
}

/// The text of a file, which `make` provides where there is none. It appears whole, and whoever was first stays.
fn kept(path: &Path, make: impl Fn() -> Result<String, TlsError>) -> Result<String, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read.map_err(failed),
    }
    let text = make()?;
    // Readable by its owner only, as temporary files are: one of the two is a private key.
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}-{:?}", std::process::id(), std::thread::current().id()));
    let partial = PathBuf::from(partial);
    let placed = write_private(&partial, &text).and_then(|()| std::fs::hard_link(&partial, path));
    let _ = std::fs::remove_file(&partial);
    match placed {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
        _ => std::fs::read_to_string(path).map_err(failed),
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

/// Where an authority lives unless told otherwise: `$XDG_DATA_HOME/stormyard/tls`, or under `~/.local/share`. `None`
/// where there is no home.
pub(crate) fn default_directory() -> Option<PathBuf> {
    let given = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let data = given("XDG_DATA_HOME").or_else(|| Some(given("HOME")?.join(".local/share")))?;
    Some(data.join("stormyard/tls"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_key_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("tls");
        let first = Authority::open(&inside).unwrap();
        let again = Authority::open(&inside).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert_eq!(first.key.serialize_pem(), again.key.serialize_pem());
        let mode = std::fs::metadata(inside.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let left: Vec<_> = std::fs::read_dir(&inside).unwrap().collect();
        assert_eq!(left.len(), 2, "nothing is left behind: {left:?}");
    }

    #[test]
    fn a_directory_on_a_path_that_is_not_there_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let error = Authority::open(&directory.path().join("typo/tls")).err().unwrap();
        let TlsError::File { path, source } = error else { panic!("{error:?}") };
        assert!(path.ends_with("typo/tls") && source.to_string().contains("mkdir -p"), "{source}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn many_that_start_at_once_have_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Authority::open(directory.path()).unwrap().certificate().to_owned();
        let made: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|certificate| *certificate == made[0]));
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        let stranger = Authority::fresh().unwrap();
        std::fs::write(directory.path().join(CERTIFICATE_FILE), stranger.certificate()).unwrap();
        assert!(matches!(Authority::open(directory.path()), Err(TlsError::Strangers { .. })));
        std::fs::write(directory.path().join(KEY_FILE), "no key").unwrap();
        assert!(matches!(Authority::open(directory.path()), Err(TlsError::Pem { what: "private key", .. })));
    }
}
