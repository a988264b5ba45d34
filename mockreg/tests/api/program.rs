//! The program: its first line, its exit codes, its commands.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use mockreg_proto::digest::Digest;
use mockreg_proto::ready_line::ReadyLine;
use serde_json::Value;

use crate::client::{Client, bytes_of, layer, registry};

fn mockreg(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mockreg"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    mockreg(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server that is killed when a test fails.
pub(crate) struct Server {
    child: Child,
    ready: ReadyLine,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let any_port = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut command = mockreg(&any_port);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.ready.registry.as_deref().unwrap().strip_prefix("http://").unwrap().parse().unwrap())
    }

    /// Address of the admin port.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.ready.admin.as_deref().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_says_where_it_listens_and_stops_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(
        path("c.yaml"),
        "schema_version: 1\nrepositories: [{name: c, tags: [v1], layers: [10kB]}]",
    )
    .unwrap();
    let (port_file, journal, catalogue) = (path("ready.json"), path("journal.ndjson"), path("c.yaml"));
    let server = Server::start(&[
        "--name",
        "dest",
        "--port-file",
        &port_file,
        "--journal",
        &journal,
        "--catalog",
        &catalogue,
    ]);
    assert_eq!((server.ready.event.as_str(), server.ready.service.as_str()), ("ready", "mockreg"));
    let written: ReadyLine = serde_json::from_str(&std::fs::read_to_string(&port_file).unwrap()).unwrap();
    assert_eq!(written, server.ready);
    assert_eq!(server.client().get("/v2/c/manifests/v1").status, 200);
    let admin = server.ready.admin.clone().unwrap();
    assert!(run(&["healthcheck", &admin]).status.success());
    assert_eq!(server.terminate(), Some(0));
    let lines = std::fs::read_to_string(&journal).unwrap();
    let line: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["seq"], &line["side"], &line["end"]), (&1.into(), &"dest".into(), &"complete".into()));
    let unwell = run(&["healthcheck", &admin]);
    assert!(unwell.status.code() == Some(1) && stderr(&unwell).contains("is not well"), "{unwell:?}");
}

#[test]
fn a_journal_on_a_full_disk_stops_no_request() {
    let server = Server::start(&["--journal", "/dev/full"]);
    let mut client = server.client();
    (0..3).for_each(|_| assert_eq!(client.get("/v2/").status, 200));
    let admin = server.ready.admin.as_deref().unwrap().strip_prefix("http://").unwrap();
    let journal = Client::new(admin.parse().unwrap()).get("/journal").text();
    assert_eq!(journal.lines().count(), 3, "the lines in memory are all there");
    assert_eq!(server.terminate(), Some(0));
    let nowhere =
        run(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--journal", "/nowhere/j"]);
    assert!(nowhere.status.code() == Some(3) && stderr(&nowhere).contains("/nowhere/j"), "{nowhere:?}");
}

#[test]
fn a_busy_port_exits_with_3_and_a_remedy() {
    let taken = registry();
    let address = taken.registry_addr().to_string();
    let output = run(&["serve", "--listen", &address, "--admin", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains(&address) && stderr(&output).contains("--listen"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn wrong_usage_exits_with_2_and_says_where() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bad.yaml");
    std::fs::write(&file, "schema_version: 1\nrepositories:\n  - {name: a, tag: [v1], layers: [10kB]}\n")
        .unwrap();
    let file = file.to_str().unwrap();
    for (arguments, says) in [
        (&["serve", "--memory-budget", "many"][..], "64MiB"),
        (&["serve", "--listen", "nowhere"], "--listen"),
        (&["serve", "--admin", "nowhere:0"], "localhost:5000"),
        (&["serve", "--threads", "0"], "'0' for '--threads <N>': give a whole number from 1 to 65535"),
        (&["serve", "--threads", "x"], "'x' for '--threads <N>': give a whole number from 1 to 65535"),
        (&["serve", "--threads", "-1"], "'-1' for '--threads <N>': give a whole number from 1 to 65535"),
        (&["serve", "--seed", "x"], "'x' for '--seed <N>': give a whole number, 0 or more"),
        (&["serve", "--on-demand", "maybe"], "'maybe' for '--on-demand <on|off>'"),
        (&["serve", "--auth", "maybe"], "'maybe' for '--auth <none|basic|bearer>'"),
        (&["serve", "--auth", "basic"], "--htpasswd FILE"),
        (&["serve", "--auth", "bearer", "--htpasswd", file], "bad.yaml:1:"),
        (&["serve", "--anonymous-pull"], "--auth basic"),
        (&["serve", "--catalog", file], "bad.yaml:3:"),
        (&["serve", "--catalog", "/nowhere/x.yaml"], "/nowhere/x.yaml"),
        (&["describe", "--catalog", file], "did you mean `tags`"),
        (&["layer", "huge"], "synth/huge"),
        (&["layer", "10kb", "--index", "1"], "--index 1: synth/10kb has layers 0 to 0"),
        (&["layer", "10kb", "--index", "-1"], "'-1' for '--index <N>': give a whole number, 0 or more"),
        (&["layer", "10kb", "--seed", "abc"], "'abc' for '--seed <N>': give a whole number"),
        (&["tables", "check", "--sample", "0"], "'0' for '--sample <N>': give a whole number, 1 or more"),
        (&["tables", "check", "--seed", "1.5"], "'1.5' for '--seed <N>': give a whole number"),
        (&["layer", "10kb", "--range", "9-0"], "9"),
        (&["layer", "10kb", "--range", "10000-10001"], "9999 at the latest"),
        (&["healthcheck", "ftp://x"], "http://"),
        (&["healthcheck", "http://127.0.0.1:1", "--ca", "/nowhere/ca.pem"], "--ca /nowhere/ca.pem"),
        (&["dance"], "dance"),
        (&[], "Usage"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn help_names_the_choices_once() {
    let help = String::from_utf8(run(&["serve", "--help"]).stdout).unwrap();
    for choices in ["--on-demand <on|off>", "--auth <none|basic|bearer>"] {
        assert!(help.contains(choices), "{choices}: {help}");
    }
    assert!(!help.to_lowercase().contains("possible values"), "{help}");
}

#[test]
fn a_layer_is_written_whole_or_in_part() {
    let bytes = bytes_of(layer("100kb"));
    assert!(run(&["layer", "synth/100kb"]).stdout == bytes);
    assert!(run(&["layer", "100kb", "--range", "500-999"]).stdout == bytes[500..1000]);
    let info: Value = serde_json::from_slice(&run(&["layer", "100kb", "--info"]).stdout).unwrap();
    assert_eq!(info["digest"], Digest::of(&bytes).to_string());
    assert_eq!(info["size"], 100_000);
    for (name, form, media_type) in [
        ("100kb", "gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("100kb-zstd", "zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
        ("102400-tar", "tar", "application/vnd.oci.image.layer.v1.tar"),
    ] {
        let info: Value = serde_json::from_slice(&run(&["layer", name, "--info"]).stdout).unwrap();
        assert_eq!([&info["form"], &info["media_type"]], [form, media_type]);
        let bytes = run(&["layer", name]).stdout;
        assert_eq!(info["digest"], Digest::of(&bytes).to_string());
        assert_eq!(info["size"], bytes.len());
        assert!(run(&["layer", name, "--range", "99000-200000"]).stdout == bytes[99_000..]);
    }
}

#[test]
fn tables_are_derived_and_checked() {
    let checked = run(&["tables", "check", "--sample", "20"]);
    assert_eq!(String::from_utf8_lossy(&checked.stdout), "20 of 20 pieces are right\n");
    assert_eq!(checked.status.code(), Some(0));

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tables");
    let derived = run(&["tables", "derive", "--to", "2MiB", "--out", file.to_str().unwrap()]);
    assert_eq!(derived.status.code(), Some(0), "{}", stderr(&derived));
    let derived = std::fs::read(&file).unwrap();
    let shipped = include_bytes!("../../synth/tables/checkpoints-v1.bin");
    // After the name and the 36 counts come the points of the first stream's tar, in both.
    assert_eq!(derived[..16], shipped[..16]);
    assert_eq!(derived[160..160 + 4 * 36], shipped[160..160 + 4 * 36]);

    let too_far = run(&["tables", "derive", "--to", "65GiB", "--out", file.to_str().unwrap()]);
    assert_eq!(too_far.status.code(), Some(2));
    assert!(stderr(&too_far).contains("64GiB"), "{}", stderr(&too_far));
}

/// What one run hashes beyond the tables that are shipped, the next finds in the directory.
#[test]
fn what_is_computed_is_kept_in_the_cache_directory() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    // 16.5 GiB: two checkpoints beyond those of the blob, and some of the tar.
    let info = || {
        let output = run(&["layer", "16.5gib", "--info", "--table-cache", cache.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), stderr(&output))
    };
    let (first, _) = info();
    let mut files: Vec<_> = std::fs::read_dir(&cache).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["chain-s3-gzip.v1", "chain-s3-tar.v1"]);
    let written = || files.iter().map(|file| std::fs::metadata(file).unwrap().modified().unwrap()).max();
    let before = written();
    assert_eq!(info(), (first.clone(), String::new()));
    assert_eq!(written(), before, "nothing was computed again");
    // Damaged, it is.
    std::fs::write(&files[0], "nonsense").unwrap();
    let (again, said) = info();
    assert_eq!(again, first);
    assert!(said.contains("written anew"), "{said}");
    assert_eq!(info(), (first, String::new()));
}

#[test]
fn a_catalogue_is_described_with_the_digests_that_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    std::fs::write(
        &file,
        "schema_version: 1\nrepositories: [{name: c, tags: [v1, v2], layers: [10kB, 1MB]}]",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let described: Value =
        serde_json::from_slice(&run(&["describe", "--catalog", file, "--json"]).stdout).unwrap();
    assert_eq!(described["images"].as_array().unwrap().len(), 2);
    assert_eq!(described["total_bytes"], 2_020_000);
    let server = Server::start(&["--catalog", file]);
    for image in described["images"].as_array().unwrap() {
        let served = server.client().get(&format!("/v2/c/manifests/{}", image["tag"].as_str().unwrap()));
        assert_eq!(served.header("docker-content-digest"), image["manifest_digest"].as_str());
    }
    let text = String::from_utf8(run(&["describe", "--catalog", file, "--digests"]).stdout).unwrap();
    let digest = described["images"][1]["manifest_digest"].as_str().unwrap();
    assert!(text.contains(&format!("c:v2  {digest}")) && text.contains("images         2"), "{text}");
}

/// The numbers are those of a catalogue small enough to count by hand: two tags of three layers, of which the last is
/// their own, and an image of two platforms with a signature.
#[test]
fn a_description_counts_what_is_there_and_what_is_shared() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.yaml");
    let text = "schema_version: 1\nrepositories:\n  - {name: a, tags: [v1, v2], layers: [1MB, 2MB, 10kB]}\n  \
                - {name: b, tags: [x], layers: [5MB, {size: 1GB, foreign: true}], \
                platforms: [linux/amd64, linux/arm64], referrers: {signature: 1}}\n  \
                - {generate: {prefix: g, count: 100, layers: 1, size: 1kB, popularity: {zipf: 1}}}\n";
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let cache = directory.path().join("cache");
    let describe =
        |more: &str| run(&["describe", "--catalog", file, "--table-cache", cache.to_str().unwrap(), more]);
    let first = describe("--json").stdout;
    let described: Value = serde_json::from_slice(&first).unwrap();
    for (key, wanted) in [
        ("repositories", 102),
        ("images", 103),
        ("platform_images", 104),
        ("artifacts", 1),
        ("layers", 110),
        ("unique_layers", 106),
        ("foreign_layers", 2),
        ("total_bytes", 6_020_000 + 10_000_000 + 100_000),
        ("unique_bytes", 3_020_000 + 10_000_000 + 100_000),
    ] {
        assert_eq!(described["summary"][key], wanted, "{key}");
    }
    assert_eq!(described["images"].as_array().unwrap().len(), 103);
    // Of the second tag only 10 kB are new.
    let few = described["summary"]["images_with_few_new_bytes"].as_f64().unwrap();
    assert!((few - 1.0 / 103.0).abs() < 1e-9, "{few}");
    assert_eq!(described["summary"]["unique_layer_sizes"]["max"], 5_000_000);
    assert_eq!(described["summary"]["popularity"]["exponents"], serde_json::json!([0.0, 0.0, 1.0]));
    let multi =
        described["images"].as_array().unwrap().iter().find(|image| image["repository"] == "b").unwrap();
    assert_eq!(multi["platforms"].as_array().unwrap().len(), 2);
    assert_eq!(multi["referrers"].as_array().unwrap().len(), 1);
    // The second time the digests come from the cache, and are the same.
    assert!(
        std::fs::read_dir(&cache).unwrap().any(|entry| entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("digests-"))
    );
    assert_eq!(describe("--json").stdout, first);
    let plain = String::from_utf8(describe("--digests").stdout).unwrap();
    assert!(plain.contains("g/001:v1  sha256:") && plain.contains("linux/arm64  sha256:"), "{plain}");
}

#[test]
fn two_repositories_are_compared_with_an_exit_code() {
    let (one, other) = (registry(), registry());
    let at = |registry: &mockreg::Registry, name: &str| format!("{}/{name}", registry.url());
    let (here, there) = (at(&one, "synth/100kb"), at(&other, "synth/100kb"));
    let equal = run(&["verify", &here, &there]);
    assert_eq!(equal.status.code(), Some(0), "{equal:?}");
    assert!(String::from_utf8_lossy(&equal.stdout).starts_with("equal: tags: 1 equal"), "{equal:?}");
    let different = run(&["verify", &here, &at(&other, "synth/200kb"), "--json"]);
    assert_eq!(different.status.code(), Some(1), "{different:?}");
    let report: Value = serde_json::from_slice(&different.stdout).unwrap();
    assert_eq!((&report["outcome"], &report["tags"]["different"]), (&"different".into(), &1.into()));
    assert_eq!(stderr(&different), "", "the report has said it");
    let nowhere = run(&["verify", &here, "http://127.0.0.1:1/a"]);
    let said = stderr(&nowhere);
    assert_eq!(nowhere.status.code(), Some(3), "{nowhere:?}");
    assert!(
        said.starts_with("mockreg: http://127.0.0.1:1/v2/a/tags/list?n=1000: cannot be reached: "),
        "{said}"
    );
    let both = String::from_utf8_lossy(&nowhere.stdout).into_owned() + &said;
    assert_eq!(both.matches("cannot be reached").count(), 1, "{both}");
    for (arguments, says) in [
        (&["verify", &here][..], "DST"),
        (&["verify", &here, "library/a"], "http://"),
        (&["verify", &here, "http://127.0.0.1:1"], "name a repository in both"),
        (&["verify", &here, &there, "--ca", "/nowhere/ca.pem"], "/nowhere/ca.pem"),
        (&["verify", &here, &there, "--ca", "x", "--insecure"], "--insecure"),
        (&["verify", &here, &there, "--src-user", "ann"], "colon"),
    ] {
        let output = run(arguments);
        assert!(
            output.status.code() == Some(2) && stderr(&output).contains(says),
            "{arguments:?}: {output:?}"
        );
    }
}

/// Options that say who to be are named where they are wanted, and the report is in neither stream twice.
#[test]
fn a_side_that_wants_a_password_is_said_to() {
    let closed =
        mockreg::Registry::builder().auth(mockreg::Auth::basic([("ann", "secret")])).start().unwrap();
    let open = registry();
    let at = |registry: &mockreg::Registry| format!("{}/synth/100kb", registry.url());
    for (here, there, more, says) in [
        (at(&open), at(&closed), &[][..], "wants a name and a password"),
        (at(&open), at(&closed), &["--dst-user", "ann:wrong"], "does not take this name and password"),
    ] {
        let refused = run(&[&["verify", &here, &there], more].concat());
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        let said = stderr(&refused);
        assert!(said.contains(says) && said.contains("--dst-user NAME:PASSWORD"), "{said}");
        assert!(
            String::from_utf8_lossy(&refused.stdout).starts_with("refused: tags: 0 equal"),
            "{refused:?}"
        );
    }
    let let_in = run(&["verify", &at(&open), &at(&closed), "--dst-user", "ann:secret"]);
    assert_eq!(let_in.status.code(), Some(0), "{let_in:?}");
}

/// Three ways to believe a registry under TLS, and what is said without any.
#[test]
fn certificates_are_believed_by_file_by_system_or_blindly() {
    let directory = tempfile::tempdir().unwrap();
    let secure = || mockreg::Registry::builder().tls(mockreg::Tls::ephemeral()).start().unwrap();
    let (here, stranger) = (secure(), secure());
    let file = |name: &str, registry: &mockreg::Registry| {
        let path = directory.path().join(name);
        std::fs::write(&path, registry.ca_certificate().unwrap()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (own, strangers) = (file("own.pem", &here), file("strangers.pem", &stranger));
    let folder = directory.path().join("certificates");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(&own, folder.join("0a1b2c3d.0")).unwrap();
    let folder = folder.to_str().unwrap();
    let image = format!("{}/synth/100kb", here.url());
    let base = format!("{}/v2/", here.url());
    for command in [&["verify", &image, &image][..], &["healthcheck", &base]] {
        let failed = if command[0] == "verify" { 3 } else { 1 };
        let unusable = if failed == 3 { 2 } else { 1 };
        for (file, folders, more, code, says) in [
            (strangers.as_str(), "", &[][..], failed, "certificate"),
            (&own, "", &[], 0, ""),
            ("", folder, &[], 0, ""),
            (&strangers, folder, &[], 0, ""),
            (&strangers, "", &["--ca", &own], 0, ""),
            (&strangers, "", &["--insecure"], 0, ""),
            ("/nowhere.pem", "", &[], unusable, "/nowhere.pem, where SSL_CERT_FILE says"),
            ("", "/nowhere", &[], unusable, "/nowhere, where SSL_CERT_DIR says"),
        ] {
            let mut program = mockreg(&[command, more].concat());
            let output = program.env("SSL_CERT_FILE", file).env("SSL_CERT_DIR", folders).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{command:?} {more:?}: {output:?}");
            let said = stderr(&output);
            assert!(said.contains(says), "{command:?} {more:?}: {said}");
            let said = said + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(more == ["--insecure"], said.contains("not checked"), "{said}");
        }
    }
}

/// A path that leads nowhere is told, not made; one part that is missing is made.
#[test]
fn a_directory_is_made_in_one_that_is_there() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let any_port = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let deep = path("typo/deep");
    for arguments in [
        vec!["ca", "--dir", &deep],
        [&any_port[..], &["--tls-auto", &deep]].concat(),
        [&any_port[..], &["--spill", &deep]].concat(),
        [&any_port[..], &["--table-cache", &deep]].concat(),
        vec!["layer", "10kb", "--info", "--table-cache", &deep],
    ] {
        let output = run(&arguments);
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(2 | 3)), "{arguments:?}: {output:?}");
        assert!(said.contains(&deep) && said.contains("mkdir -p"), "{arguments:?}: {said}");
        assert!(!root.path().join("typo").exists(), "{arguments:?}");
    }
    assert!(run(&["ca", "--dir", &path("tls")]).status.success());
    assert!(root.path().join("tls/ca.pem").exists());
    let server = Server::start(&["--spill", &path("spill"), "--table-cache", &path("cache")]);
    assert!(root.path().join("spill").is_dir());
    assert_eq!(server.terminate(), Some(0));
}

/// Sizes are told as they are, and nothing is negative.
#[test]
fn a_description_rounds_as_people_do() {
    let directory = tempfile::tempdir().unwrap();
    let describe = |text: &str| {
        let file = directory.path().join("c.yaml");
        std::fs::write(&file, text).unwrap();
        String::from_utf8(run(&["describe", "--catalog", file.to_str().unwrap()]).stdout).unwrap()
    };
    let one = describe("schema_version: 1\nrepositories: [{name: a, tags: [v1], layers: [1MB]}]");
    assert!(
        one.contains("p50 1.00 MB") && one.contains("1.00 MB - 10.0 MB") && !one.contains("999"),
        "{one}"
    );
    let none = describe("schema_version: 1\nrepositories: []");
    assert!(none.contains("take 0.0 % of the pulls") && !none.contains("-0"), "{none}");
}
