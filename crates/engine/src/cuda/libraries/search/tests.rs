use super::*;
use std::collections::HashMap;
use tempfile::TempDir;

/// The head of a library for this machine, and of one for another.
fn head(machine: u16) -> Vec<u8> {
    if cfg!(windows) {
        return b"MZ and twenty bytes or more".to_vec();
    }
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0".to_vec();
    head.extend(machine.to_le_bytes());
    head.extend([0; 100]);
    head
}

fn ours() -> Vec<u8> {
    head(machine().unwrap_or(0))
}

/// A linker that finds nothing.
const NOTHING: Linker = |_| Ok(None);

/// A search of a machine that has nothing but what lies below `home`.
fn search(extra: &[PathBuf], env: &[(&str, PathBuf)], system: Linker, home: &TempDir) -> Search {
    let env: HashMap<_, _> = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let mut search = Search::new(extra, |name| env.get(name).map(|it| it.clone().into_os_string()), system);
    search.folders.retain(|folder| folder.starts_with(home.path()));
    search.driver_folders.retain(|folder| folder.starts_with(home.path()));
    search
}

#[cfg(unix)]
mod unix {
    use super::*;

    fn write(path: &Path, bytes: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn path(finding: &Finding) -> &Path {
        &finding.found().expect("found").path
    }

    #[test]
    fn what_the_caller_names_comes_before_the_toolkit_and_that_before_python() {
        let home = TempDir::new().unwrap();
        let (data, cuda, venv) =
            (home.path().join("gpu"), home.path().join("cuda"), home.path().join("venv"));
        let in_data = data.join("nvidia/cu13/lib/libnvrtc.so.13");
        let in_cuda = cuda.join("lib64/libnvrtc.so.13");
        let in_venv = venv.join("lib/python3.11/site-packages/nvidia/cu13/lib/libnvrtc.so.13");
        for file in [&in_data, &in_cuda, &in_venv] {
            write(file, &ours());
        }
        let env = [("CUDA_HOME", cuda), ("VIRTUAL_ENV", venv)];
        let find = |extra: &[PathBuf]| search(extra, &env, NOTHING, &home).all();
        assert_eq!(path(&find(std::slice::from_ref(&data)).nvrtc), in_data);
        assert_eq!(path(&find(&[]).nvrtc), in_cuda);
        fs::remove_file(&in_cuda).unwrap();
        assert_eq!(path(&find(&[]).nvrtc), in_venv);
    }

    #[test]
    fn both_layouts_of_the_python_packages_are_known_with_their_versions() {
        let home = TempDir::new().unwrap();
        let venv = home.path().join("venv");
        let site = venv.join("lib/python3.12/site-packages");
        write(&site.join("nvidia/cublas/lib/libcublasLt.so.12"), &ours());
        write(&site.join("nvidia/cu13/lib/libnvrtc.so.13"), &ours());
        write(&site.join("nvidia_cublas_cu12-12.8.4.1.dist-info/METADATA"), b"");
        let found = search(&[], &[("VIRTUAL_ENV", venv)], NOTHING, &home).all();
        let version = |finding: &Finding| finding.found().unwrap().version.clone();
        assert_eq!(version(&found.cublas_lt).as_deref(), Some("12.8.4.1"));
        assert_eq!(version(&found.nvrtc), None);
    }

    #[test]
    fn cuda_13_anywhere_is_taken_before_cuda_12_anywhere() {
        let home = TempDir::new().unwrap();
        let (data, cuda) = (home.path().join("gpu"), home.path().join("cuda"));
        write(&data.join("lib/libcublasLt.so.12"), &ours());
        let newer = cuda.join("targets/x86_64-linux/lib/libcublasLt.so.13");
        let newer = if cfg!(target_arch = "aarch64") { cuda.join("lib/libcublasLt.so.13") } else { newer };
        write(&newer, &ours());
        let search = search(&[data], &[("CUDA_PATH", cuda)], NOTHING, &home);
        assert_eq!(path(&search.all().cublas_lt), newer);
    }

    #[test]
    fn the_newest_python_comes_first() {
        let home = TempDir::new().unwrap();
        let lib = |python: &str| home.path().join("lib").join(python);
        for python in ["python3.9", "python3.12", "python3", "pythonic"] {
            write(&lib(python).join("site-packages/nvidia/cublas/lib/libcublasLt.so.12"), &ours());
        }
        let found = search(&[], &[("CONDA_PREFIX", home.path().to_owned())], NOTHING, &home).all();
        assert!(path(&found.cublas_lt).starts_with(lib("python3.12")));
    }

    #[test]
    fn a_toolkits_link_tells_the_version() {
        let home = TempDir::new().unwrap();
        let lib = home.path().join("lib64");
        write(&lib.join("libnvrtc.so.13.0.88"), &ours());
        std::os::unix::fs::symlink("libnvrtc.so.13.0.88", lib.join("libnvrtc.so.13")).unwrap();
        let found = search(&[], &[("CUDA_HOME", home.path().to_owned())], NOTHING, &home).all();
        let found = found.nvrtc.found().unwrap();
        assert_eq!(
            (found.path.clone(), found.version.as_deref()),
            (lib.join("libnvrtc.so.13"), Some("13.0.88"))
        );
    }

    #[test]
    fn a_file_that_is_no_library_is_passed_over_and_named_only_if_nothing_is_better() {
        let home = TempDir::new().unwrap();
        let (data, cuda) = (home.path().join("gpu"), home.path().join("cuda"));
        let of_another_machine = head(8);
        for (name, bytes) in [
            ("libnvrtc.so.13", &b"<html>"[..]),
            ("libcublasLt.so.13", &of_another_machine[..]),
            ("libnvrtc.so.12/folder", &b""[..]),
        ] {
            write(&data.join(name), bytes);
        }
        let env = [("CUDA_HOME", cuda.clone())];
        let reason = |finding: &Finding| match finding {
            Finding::Missing { reason, looked_in } => {
                assert!(looked_in.contains(&data) && looked_in.contains(&cuda.join("lib64")));
                reason.clone()
            }
            Finding::Found(found) => panic!("{found:?}"),
        };
        let found = search(std::slice::from_ref(&data), &env, NOTHING, &home).all();
        let of_nvrtc = reason(&found.nvrtc);
        assert!(
            of_nvrtc.contains("libnvrtc.so.13 is too short") && of_nvrtc.starts_with("no libnvrtc.so.13 or")
        );
        assert!(reason(&found.cublas_lt).contains("no library for this kind of machine"));
        assert!(of_nvrtc.contains("is no file"), "{of_nvrtc}");
        let better = cuda.join("lib64/libnvrtc.so.12");
        write(&better, &ours());
        assert_eq!(path(&search(std::slice::from_ref(&data), &env, NOTHING, &home).all().nvrtc), better);
    }

    #[test]
    fn the_linker_is_asked_last_and_for_the_driver_first() {
        let home = TempDir::new().unwrap();
        for name in ["libcuda.so.1", "libnvrtc.so.13"] {
            write(&home.path().join(name), &ours());
        }
        fn linker(name: &str) -> Result<Option<PathBuf>, String> {
            match name {
                // Any library there is will do.
                "libcuda.so.1" | "libcublasLt.so.12" => system_linker("libm.so.6"),
                "libnvrtc.so.13" => panic!("nobody needs to ask"),
                _ => Err("libz.so.1: not for this machine".into()),
            }
        }
        let found = search(&[home.path().to_owned()], &[], linker, &home).all();
        assert_eq!(path(&found.nvrtc), home.path().join("libnvrtc.so.13"));
        if cfg!(target_os = "linux") {
            let system = system_linker("libm.so.6").unwrap().unwrap();
            assert_eq!((path(&found.driver), path(&found.cublas_lt)), (&*system, &*system));
        }
    }

    #[test]
    fn what_lies_beside_a_library_is_loaded_before_it_and_once() {
        let home = TempDir::new().unwrap();
        for name in ["libnvrtc.so.13", "libnvrtc-builtins.so.13.0", "libnvrtc-other.so.13.0"] {
            write(&home.path().join(name), &ours());
        }
        std::os::unix::fs::symlink(
            "libnvrtc-builtins.so.13.0",
            home.path().join("libnvrtc-builtins.so.13.0.88"),
        )
        .unwrap();
        let siblings = siblings(Library::Nvrtc, &home.path().join("libnvrtc.so.13"));
        let names: Vec<_> = siblings.iter().map(|it| it.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["libnvrtc-builtins.so.13.0"]);
    }
}

#[test]
fn an_empty_machine_has_nothing_and_says_where_it_looked() {
    let home = TempDir::new().unwrap();
    let data = home.path().join("gpu");
    let found = search(std::slice::from_ref(&data), &[], NOTHING, &home).all();
    for library in Library::ALL {
        let Finding::Missing { looked_in, reason } = found.get(library) else { panic!("{library}") };
        assert!(looked_in.contains(&data), "{library}");
        assert!(reason.contains(library.files()[0]), "{reason}");
    }
    let error = found.load().unwrap_err().to_string();
    assert!(error.contains("NVIDIA driver was not found") && error.contains("install"), "{error}");
}

#[test]
fn a_file_of_a_mapped_library_is_told_by_its_name() {
    let maps = "7f00-7f01 r--p 00000000 fe:00 12  /usr/lib/libcublas.so.13.0\n\
        7f02-7f03 r--p 00000000 fe:00 13                   /usr/lib/a folder/libcublasLt.so.13.0.2\n\
        7f04-7f05 rw-p 00000000 00:00 0 [heap]\n";
    let expected = PathBuf::from("/usr/lib/a folder/libcublasLt.so.13.0.2");
    assert_eq!(mapped(maps, "libcublasLt.so"), Some(expected));
    assert_eq!(mapped(maps, "libnvrtc.so"), None);
}

#[test]
fn an_executable_is_no_library() {
    let mut head: [u8; 20] = ours()[..20].try_into().unwrap();
    assert!(is_library(&head));
    if cfg!(unix) {
        head[16] = 2;
        assert!(!is_library(&head));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_systems_linker_tells_nothing_from_a_name_that_no_file_has() {
    assert_eq!(system_linker("libscope-no-such-library.so.1"), Ok(None));
}
