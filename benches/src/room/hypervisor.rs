//! Whether a hypervisor takes free memory back.

use std::fs;
use std::path::Path;

/// The virtio device number of a balloon, as sysfs writes it.
const BALLOON: &str = "0x0005";

/// The balloon's feature bit for free page reporting (`VIRTIO_BALLOON_F_REPORTING`).
const REPORTING: usize = 5;

/// Returns whether this machine tells a hypervisor which memory is free, so that it is taken back.
///
/// `false` where nothing says so: hypervisors that do it by other means are not seen.
pub(super) fn takes_back_free_memory(root: &Path) -> bool {
    let Ok(devices) = fs::read_dir(root.join("sys/bus/virtio/devices")) else { return false };
    devices.flatten().any(|device| {
        let read = |name: &str| fs::read_to_string(device.path().join(name)).unwrap_or_default();
        // One character for each feature that both sides agreed on, the lowest first.
        let reports = || read("features").as_bytes().get(REPORTING) == Some(&b'1');
        read("device").trim() == BALLOON && reports()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(devices: &[(&str, &str)]) -> bool {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for (i, (device, features)) in devices.iter().enumerate() {
            let folder = root.path().join(format!("sys/bus/virtio/devices/virtio{i}"));
            fs::create_dir_all(&folder)
                .and_then(|()| fs::write(folder.join("device"), format!("{device}\n")))
                .and_then(|()| fs::write(folder.join("features"), format!("{features}\n")))
                .expect("a temporary file can be written");
        }
        takes_back_free_memory(root.path())
    }

    #[test]
    fn only_a_balloon_that_reports_free_pages_takes_them_back() {
        assert!(machine(&[("0x0002", "000000"), (BALLOON, "0110010100")]));
        assert!(!machine(&[(BALLOON, "0110000100")]));
        assert!(!machine(&[("0x0002", "0000010000")]));
    }

    #[test]
    fn a_machine_without_virtio_or_with_garbled_files_takes_nothing_back() {
        assert!(!machine(&[]));
        assert!(!machine(&[(BALLOON, ""), ("", "000001")]));
    }
}
