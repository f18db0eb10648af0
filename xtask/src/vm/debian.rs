//! Debian packages: fetched with apt and unpacked under `target/vm/`, never installed.
//!
//! apt is pointed at a package list, a status file and a cache of its own, so
//! that the machine's sources stay as they are and no privilege is needed. The
//! list names the mirror that the machine's own configuration names, and any
//! suite: the machine need not run the release whose packages are wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::cache::Cache;
use super::command;

/// The keys that Debian signs its releases with, where Debian keeps them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The newest stable suite, from which the tools are taken.
pub(crate) const TOOLS: &str = "trixie";

/// One suite's packages.
#[derive(Debug)]
pub(crate) struct Suite {
    name: &'static str,
    folder: PathBuf,
    mirror: Option<String>,
}

impl Suite {
    /// Names a suite; nothing is fetched before it is needed.
    ///
    /// `mirror` stands in for the one that the machine's configuration names.
    pub(crate) fn new(cache: &Cache, name: &'static str, mirror: Option<String>) -> Self {
        Self { name, folder: cache.debian(name), mirror }
    }

    /// Unpacks the package that an empty package of this name depends on, and returns the folder.
    pub(crate) fn unpack_target_of(&self, meta: &str) -> anyhow::Result<PathBuf> {
        self.unpacked(meta, |folder| {
            let depends = command::output(self.apt("apt-cache").args([
                "depends",
                "--no-recommends",
                "--no-suggests",
                meta,
            ]))?;
            let target = depends
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: "))
                .find(|name| name.starts_with("linux-image-"))
                .with_context(|| format!("{meta} in {} depends on no kernel image", self.name))?;
            self.download(folder, target)
        })
    }

    /// Unpacks one package without what it depends on, and returns the folder.
    pub(crate) fn unpack(&self, package: &str) -> anyhow::Result<PathBuf> {
        self.unpacked(package, |folder| self.download(folder, package))
    }

    /// Unpacks a package and all it depends on, down to the C library, and returns the folder.
    pub(crate) fn unpack_with_dependencies(&self, package: &str) -> anyhow::Result<PathBuf> {
        self.unpacked(package, |folder| {
            let cache = format!("Dir::Cache::archives={}", folder.display());
            fs::create_dir_all(folder.join("partial"))?;
            command::output(
                self.apt("apt-get")
                    .args(["-o", &cache, "install", "--yes", "--download-only"])
                    .args(["--no-install-recommends", package]),
            )?;
            Ok(())
        })
    }

    fn download(&self, folder: &Path, package: &str) -> anyhow::Result<()> {
        command::output(self.apt("apt-get").args(["download", package]).current_dir(folder))?;
        Ok(())
    }

    /// Returns the folder where a package is unpacked, after fetching it where it is not there yet.
    fn unpacked(
        &self,
        package: &str,
        fetch: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let unpacked = self.folder.join(package);
        if unpacked.exists() {
            return Ok(unpacked);
        }
        self.update().with_context(|| {
            format!("cannot fetch Debian's list of packages of {}, for {package}", self.name)
        })?;
        // What is half done stays under another name, so that a folder that exists is whole.
        let partial = self.folder.join(format!("{package}.partial-{}", std::process::id()));
        let archives = partial.join("archives");
        fs::create_dir_all(&archives)?;
        fetch(&archives)
            .with_context(|| format!("cannot fetch Debian's {package} of {}", self.name))?;
        let content = partial.join("content");
        for entry in archives.read_dir()? {
            let archive = entry?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                command::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&content))?;
            }
        }
        // Another run may have been as quick; its folder is as good.
        if let Err(error) = fs::rename(&content, &unpacked) {
            ensure!(unpacked.exists(), error);
        }
        fs::remove_dir_all(&partial)?;
        Ok(unpacked)
    }

    /// Fetches the suite's list of packages where it is not there yet.
    fn update(&self) -> anyhow::Result<()> {
        for tool in ["apt-get", "dpkg-deb"] {
            ensure!(
                command::exists(tool),
                "{tool} is not installed: the lab takes its kernels from Debian's packages with it"
            );
        }
        fs::create_dir_all(self.folder.join("lists/partial"))?;
        fs::create_dir_all(self.folder.join("cache"))?;
        // An empty status file: nothing counts as installed, so a download has all that is needed.
        fs::write(self.folder.join("status"), "")?;
        let mirror = match &self.mirror {
            Some(mirror) => mirror.clone(),
            None => configured_mirror()?,
        };
        let signed = match Path::new(KEYRING).exists() {
            true => format!(" signed-by={KEYRING}"),
            false => String::new(),
        };
        let line = format!("deb [arch=amd64{signed}] {mirror} {} main\n", self.name);
        let list = self.folder.join("sources.list");
        if fs::read_to_string(&list).is_ok_and(|old| old == line) {
            return Ok(());
        }
        fs::write(self.folder.join("sources.list.new"), &line)?;
        fs::rename(self.folder.join("sources.list.new"), &list)?;
        if let Err(error) = command::output(self.apt("apt-get").arg("update")) {
            fs::remove_file(&list)?;
            return Err(error);
        }
        Ok(())
    }

    /// Returns an apt command that knows this suite alone.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let paths = [
            ("Dir::Etc::SourceList", self.folder.join("sources.list")),
            ("Dir::Etc::SourceParts", PathBuf::from("/dev/null")),
            ("Dir::Etc::Preferences", PathBuf::from("/dev/null")),
            ("Dir::Etc::PreferencesParts", PathBuf::from("/dev/null")),
            ("Dir::State", self.folder.clone()),
            ("Dir::State::Lists", self.folder.join("lists")),
            ("Dir::State::status", self.folder.join("status")),
            ("Dir::Cache", self.folder.join("cache")),
        ];
        for (option, path) in paths {
            command.arg("-o").arg(format!("{option}={}", path.display()));
        }
        // Only root has privileges to drop, and the user apt would drop to may not see this folder.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Architecture=amd64"]);
        command.args(["-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        command.args(["-o", "Acquire::Languages=none", "-q"]);
        // Another run of the lab may be fetching; it is waited for, in seconds.
        command.args(["-o", "DPkg::Lock::Timeout=300"]);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// Asks apt which mirror this machine takes Debian from.
fn configured_mirror() -> anyhow::Result<String> {
    let targets = command::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(ORIGIN)|$(LABEL)|$(RELEASE)|$(REPO_URI)",
        "Created-By: Packages",
    ]))?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let is_debian = release.lines().any(|line| line == "ID=debian");
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    for target in targets.lines() {
        let fields: Vec<_> = target.splitn(4, '|').collect();
        let &[origin, label, suite, uri] = fields.as_slice() else { continue };
        // apt knows the origin only once it has fetched a list; the release's own name says as much.
        let debian = origin == "Debian" && label == "Debian";
        if debian || (is_debian && codename == Some(suite)) {
            return Ok(uri.to_owned());
        }
    }
    bail!("this machine's apt names no Debian mirror: give one with --mirror")
}
