//! Shared regions and files: what is written, given back and refused.

mod common;

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use common::{allowed_nodes, base_page, skipped, unless_refused};
use firsttouch_memory::{
    FileView, HugePageSize, MemoryError, PageSize, Policy, Region, RegionBuilder,
};

type Checked = Result<(), Box<dyn std::error::Error>>;

/// A file of so many bytes without a name, in a directory; `None` where there is no such directory.
fn file_in(directory: &str, len: u64) -> Option<File> {
    let file = tempfile::tempfile_in(directory);
    let file = file.inspect_err(|error| skipped(&format!("files in {directory}"), error)).ok()?;
    file.set_len(len).expect("a hole needs no room");
    Some(file)
}

fn shared(len: usize) -> RegionBuilder {
    Region::builder(len).shared()
}

#[test]
fn a_shared_region_is_fresh_zeroed_populated_and_discarded_like_a_private_one() -> Checked {
    let (page, len) = (base_page(), 65 * base_page() - 3);
    let mut region = shared(len).build()?;
    // SAFETY: [exclusive] the file is not used.
    let has_file = unsafe { region.file() }.is_some();
    assert!(region.is_shared() && region.is_fresh() == has_file);
    assert_eq!((region.len(), region.page_size()), (len, PageSize::Base));
    region.populate(page..3 * page)?;
    if let Some(pages) = unless_refused("shared pages", region.residency(0..len)) {
        assert_eq!((pages.present(), pages.not_present()), (2, 63));
    }
    region.as_mut_slice().fill(5);
    region.discard(page..2 * page)?;
    let bytes = region.as_slice();
    assert!(bytes[page..2 * page].iter().all(|&byte| byte == 0));
    assert!(bytes[2 * page..].iter().all(|&byte| byte == 5) && bytes[page - 1] == 5);
    region.discard(0..len)?;
    assert_eq!(region.is_fresh(), has_file);
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    Ok(())
}

#[test]
fn what_is_written_to_a_shared_region_is_in_its_file_which_keeps_its_length() -> Checked {
    let len = 3 * base_page();
    let mut region = shared(len).build()?;
    region.as_mut_slice()[len - 1] = 9;
    // SAFETY: [exclusive] no view is alive while the file is used below.
    let Some(file) = (unsafe { region.file() }) else {
        skipped("the file of a shared region", &"memfd_create is refused here");
        return Ok(());
    };
    let mut file = File::from(file.try_clone_to_owned()?);
    assert_eq!(file.metadata()?.len(), len as u64);
    for wrong in [0, len as u64 - 1, len as u64 + 1] {
        file.set_len(wrong).expect_err("the file is sealed");
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    assert_eq!((bytes.len(), bytes[len - 1]), (len, 9));
    Ok(())
}

/// Runs a function in a child process, which then ends; returns when it has.
fn in_a_child(f: impl FnOnce()) {
    // SAFETY: the child calls the function, which allocates nothing and takes
    // no lock, and ends without running anything else of this process.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "a test may have a child");
    if child == 0 {
        f();
        // SAFETY: it ends the child, which has nothing to clean up.
        unsafe { libc::_exit(0) };
    }
    let mut status = 1;
    // SAFETY: the kernel writes the status, which lives until the call returns.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

#[test]
fn a_shared_region_is_not_fresh_where_others_wrote_to_it() -> Checked {
    let len = 3 * base_page();
    let mut region = shared(len).build()?;
    // SAFETY: [exclusive] no view is alive while the file is used below.
    let file = unsafe { region.file() }.map(|file| file.try_clone_to_owned()).transpose()?;
    assert_eq!(region.is_fresh(), file.is_some(), "without a file nothing is known");
    let byte = region.as_ptr().wrapping_add(len - 1).cast_mut();
    // SAFETY: the byte is mapped, and no view is alive.
    in_a_child(|| unsafe { byte.write_volatile(7) });
    assert!(!region.is_fresh(), "a child wrote");
    assert_eq!(region.as_slice()[len - 1], 7);
    region.discard(0..len)?;
    assert_eq!(region.is_fresh(), file.is_some());
    let Some(file) = file.map(File::from) else { return Ok(()) };
    file.write_all_at(&[8], 0)?;
    assert!(!region.is_fresh(), "the file was written");
    assert_eq!(region.as_slice()[..2], [8, 0]);
    Ok(())
}

#[test]
fn a_shared_region_follows_its_policy_and_keeps_it() -> Checked {
    let policy = Policy::Bind(allowed_nodes());
    let len = 8 * base_page();
    let built = shared(len).policy(policy.clone()).build();
    if let Some(mut region) = unless_refused("policies of shared regions", built) {
        region.populate(0..len)?;
        assert_eq!(region.policy_at(len - 1)?, policy);
    }
    Ok(())
}

#[test]
fn a_shared_region_that_never_fits_is_an_error_unless_it_need_not() -> Checked {
    // More than any machine has, and less than its addresses.
    let len = 1 << 46;
    let private = Region::builder(len).build().map(|region| region.len());
    let reserved = shared(len).build().map(|region| region.len());
    // A kernel that promises whatever it is asked for refuses neither.
    assert_eq!(private.is_err(), reserved.is_err(), "{private:?}, {reserved:?}");
    if let Err(error) = reserved {
        assert!(matches!(error, MemoryError::Call { call: "mmap", .. }), "{error:?}");
    } else {
        skipped("what is too much memory", &"the kernel promises any");
    }
    match shared(len).no_reserve().build() {
        Ok(region) => assert_eq!(region.len(), len),
        // Without a file it is refused where nothing more is promised than there is.
        Err(error) => assert!(matches!(error, MemoryError::Call { .. }), "{error:?}"),
    }
    Ok(())
}

#[test]
fn private_regions_have_no_file() -> Checked {
    let region = Region::builder(1).build()?;
    assert!(!region.is_shared());
    // SAFETY: [exclusive] there is no file.
    assert!(unsafe { region.file() }.is_none());
    Ok(())
}

#[test]
fn shared_transparent_huge_pages_are_aligned_or_a_typed_error() -> Checked {
    match shared(5 << 20).page_size(PageSize::Transparent).build() {
        Ok(mut region) => {
            assert_eq!(region.as_ptr().addr() % region.page_bytes(), 0);
            region.populate(0..region.len())?;
        }
        Err(error) => {
            assert!(error.is_page_size_unavailable(), "{error}");
            skipped("shared transparent huge pages", &error);
        }
    }
    let fallback = shared(1 << 20).page_size(PageSize::Transparent).or_page_size(PageSize::Base);
    assert_eq!(fallback.build()?.as_slice().len(), 1 << 20);
    Ok(())
}

#[test]
fn shared_huge_pages_that_are_not_there_are_a_typed_error() {
    let size = PageSize::Huge(HugePageSize::MIB_2);
    // More than any machine's pool.
    match shared(1 << 45).page_size(size).build() {
        Err(error) => assert!(error.is_page_size_unavailable(), "{error}"),
        Ok(region) => panic!("{region:?} was granted"),
    }
}

#[test]
fn a_files_region_has_its_bytes_and_writes_them() -> Checked {
    let page = base_page() as u64;
    for directory in ["/dev/shm", "/tmp"] {
        let Some(file) = file_in(directory, 5 * page + 100) else { continue };
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let mut region = unsafe { Region::map_file(&file, page..5 * page + 100)? };
        assert_eq!((region.len() as u64, region.is_fresh()), (4 * page + 100, false));
        region.populate(0..region.len())?;
        region.as_mut_slice().fill(3);
        let end = 2 * page as usize;
        region.discard(0..end)?;
        assert!(region.as_slice()[..end].iter().all(|&byte| byte == 0));
        assert!(!region.is_fresh());
        drop(region);
        let mut bytes = Vec::new();
        (&file).seek(SeekFrom::Start(0))?;
        (&file).read_to_end(&mut bytes)?;
        let written = 3 * page as usize;
        assert!(bytes[..written].iter().all(|&byte| byte == 0), "{directory}");
        assert!(bytes[written..].iter().all(|&byte| byte == 3), "{directory}");
        assert_eq!(bytes.len() as u64, 5 * page + 100);
    }
    Ok(())
}

#[test]
fn what_is_appended_to_a_file_outlives_a_discard_of_what_it_had() -> Checked {
    let page = base_page() as u64;
    for directory in ["/dev/shm", "/tmp"] {
        for len in [page + 904, 904] {
            let Some(file) = file_in(directory, len) else { continue };
            file.write_all_at(&vec![1; len as usize], 0)?;
            // SAFETY: [long], [exclusive] what is appended is not of the range;
            // [room] it is small.
            let mut region = unsafe { Region::map_file(&file, 0..len)? };
            file.write_all_at(&[2; 1000], len)?;
            region.discard(0..len as usize)?;
            assert!(region.as_slice().iter().all(|&byte| byte == 0), "{directory}");
            let mut appended = [0; 1000];
            file.read_exact_at(&mut appended, len)?;
            assert_eq!(appended, [2; 1000], "{directory}");
            assert_eq!(file.metadata()?.len(), len + 1000);
        }
    }
    Ok(())
}

#[test]
fn ranges_that_a_file_has_not_are_typed_errors() -> Checked {
    let page = base_page() as u64;
    let Some(file) = file_in("/tmp", 3 * page + 5) else { return Ok(()) };
    // SAFETY: nobody else has the file.
    let region = |range| unsafe { Region::map_file(&file, range) };
    // SAFETY: nobody else has the file.
    let view = |range| unsafe { FileView::map(&file, range) };
    assert!(matches!(region(0..0), Err(MemoryError::ZeroLength)));
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = region(page..0);
    assert!(matches!(reversed, Err(MemoryError::ZeroLength)));
    let long = region(0..3 * page + 6);
    assert!(matches!(long, Err(MemoryError::FileTooShort { len, .. }) if len == 3 * page + 5));
    let off = |result| matches!(result, Err(MemoryError::MisalignedInFile { .. }));
    assert!(off(region(1..page)) && off(region(0..page + 1)));
    assert!(region(page..3 * page + 5).is_ok());
    assert!(matches!(view(1..page), Err(MemoryError::MisalignedInFile { offset: 1, .. })));
    assert_eq!(view(0..page + 1)?.len() as u64, page + 1);
    let null = File::open("/dev/null")?;
    // SAFETY: it is refused.
    let device = unsafe { FileView::map(&null, 0..1) };
    assert!(matches!(device, Err(MemoryError::NotARegularFile)));
    // SAFETY: it is refused.
    let read_only = unsafe { Region::map_file(&File::open("/proc/self/exe")?, 0..page) };
    assert!(read_only.is_err_and(|error| error.is_refused()));
    Ok(())
}

#[test]
fn the_page_cache_refuses_policies_and_shared_memory_takes_them() -> Checked {
    let len = 4 * base_page() as u64;
    let policy = Policy::Bind(allowed_nodes());
    for (directory, takes) in [("/dev/shm", true), (env!("CARGO_TARGET_TMPDIR"), false)] {
        let Some(file) = file_in(directory, len) else { continue };
        // SAFETY: [long], [exclusive] nobody else has the file; [room] it is small.
        let mut region = unsafe { Region::map_file(&file, 0..len)? };
        match region.set_policy(0..len as usize, &policy) {
            Ok(()) => assert!(takes, "{directory}"),
            Err(MemoryError::PolicyIgnored) => assert!(!takes, "{directory}"),
            Err(error) => assert!(error.is_refused(), "{error}"),
        }
    }
    Ok(())
}

#[test]
fn a_view_shows_a_file_and_says_where_its_pages_lie() -> Checked {
    let len = 33 * base_page() as u64 + 7;
    for directory in ["/dev/shm", "/tmp"] {
        let Some(file) = file_in(directory, len) else { continue };
        file.write_all_at(&[1, 2, 3, 4], 8)?;
        // SAFETY: [long], [unchanged] nobody else has the file.
        let view = unsafe { FileView::map(&file, 0..len)? };
        drop(file);
        view.populate(0..view.len())?;
        assert_eq!(view.as_slice_of::<u32>()[2], u32::from_ne_bytes([1, 2, 3, 4]));
        assert_eq!(view.as_slice().len() as u64, len);
        if let Some(pages) = unless_refused("pages of files", view.residency(0..view.len())) {
            assert_eq!((pages.present(), pages.not_present()), (34, 0), "{directory}");
        }
    }
    Ok(())
}
