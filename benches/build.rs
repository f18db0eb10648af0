//! Remembers which compiler built the benchmarks, and builds the rivals in C and C++.
//!
//! A rival that cannot be built here is left out, and the benchmark says why;
//! the build itself never fails for one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=rivals");
    remember_compiler();
    for rival in [
        Rival {
            name: "onetbb",
            source: "rivals/onetbb.cpp",
            flags: &["-std=c++17"],
            library: "tbb",
            needs: "a C++17 compiler and oneTBB (Debian: g++ libtbb-dev)",
        },
        Rival {
            name: "gomp",
            source: "rivals/gomp.c",
            flags: &["-std=gnu11", "-fopenmp"],
            library: "gomp",
            needs: "GCC with its OpenMP (Debian: gcc)",
        },
        Rival {
            name: "pthreads",
            source: "rivals/pthreads.c",
            flags: &["-std=gnu11"],
            library: "pthread",
            needs: "a C11 compiler (Debian: gcc)",
        },
    ] {
        rival.build();
    }
}

fn remember_compiler() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|version| version.trim().to_owned())
        .filter(|version| !version.is_empty());
    let version = version.unwrap_or_else(|| "rustc of unknown version".to_owned());
    println!("cargo::rustc-env=FIRSTTOUCH_RUSTC_VERSION={version}");
}

/// A runtime that is reached through a source file of ours.
struct Rival {
    name: &'static str,
    source: &'static str,
    flags: &'static [&'static str],
    /// What to link.
    library: &'static str,
    /// What a machine lacks that cannot build it.
    needs: &'static str,
}

impl Rival {
    /// Builds the rival where that is possible, and says so by the setting `has_NAME`.
    fn build(&self) {
        println!("cargo::rustc-check-cfg=cfg(has_{})", self.name);
        let built = self.links() && self.compile();
        if built {
            println!("cargo::rustc-cfg=has_{}", self.name);
            println!("cargo::rustc-link-lib=dylib={}", self.library);
        }
        println!("cargo::rustc-env=FIRSTTOUCH_NEEDS_{}={}", self.name.to_uppercase(), self.needs);
    }

    fn compiler(&self) -> cc::Build {
        let mut build = cc::Build::new();
        build
            .cpp(self.is_cpp())
            .file(self.source)
            .opt_level(3)
            .warnings(true)
            .cargo_warnings(false);
        for flag in self.flags {
            build.flag(flag);
        }
        build
    }

    fn is_cpp(&self) -> bool {
        Path::new(self.source).extension().is_some_and(|extension| extension == "cpp")
    }

    /// Whether the source compiles and finds all that it calls in the library.
    fn links(&self) -> bool {
        let Ok(compiler) = self.compiler().try_get_compiler() else { return false };
        // Another compiler's OpenMP is another library.
        if self.name == "gomp" && !compiler.is_like_gnu() {
            return false;
        }
        let Some(folder) = std::env::var_os("OUT_DIR").map(PathBuf::from) else { return false };
        let mut command = compiler.to_command();
        command
            .args(["-shared", "-fPIC", "-Wl,--no-undefined", self.source])
            .arg(format!("-l{}", self.library))
            .arg("-o")
            .arg(folder.join(format!("probe-{}.so", self.name)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn compile(&self) -> bool {
        self.compiler().try_compile(&format!("firsttouch_rival_{}", self.name)).is_ok()
    }
}
