//! Non-temporal stores of whole lines on x86-64.

use std::arch::asm;
use std::arch::x86_64::{
    __m128i, __m256i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128, _mm256_loadu_si256,
    _mm256_stream_si256,
};

/// Bytes of a line.
pub(super) const LINE: usize = 64;

/// Copies whole lines.
///
/// # Safety
///
/// - `[features]` The processor has SSE2.
/// - `[lines]` `to` starts at a multiple of a line, is whole lines, and as long as `from`.
#[target_feature(enable = "sse2")]
pub(super) unsafe fn copy_sse2(to: &mut [u8], from: &[u8]) {
    const WIDTH: usize = size_of::<__m128i>();
    for (to, from) in to.chunks_exact_mut(WIDTH).zip(from.chunks_exact(WIDTH)) {
        // SAFETY: the chunk has as many bytes; the load may be unaligned.
        let bytes = unsafe { _mm_loadu_si128(from.as_ptr().cast()) };
        // SAFETY: the chunk has as many bytes, and is aligned by [lines].
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), bytes) };
    }
}

/// Copies whole lines.
///
/// # Safety
///
/// - `[features]` The processor has AVX.
/// - `[lines]` As for [`copy_sse2`].
#[target_feature(enable = "avx")]
pub(super) unsafe fn copy_avx(to: &mut [u8], from: &[u8]) {
    const WIDTH: usize = size_of::<__m256i>();
    for (to, from) in to.chunks_exact_mut(WIDTH).zip(from.chunks_exact(WIDTH)) {
        // SAFETY: the chunk has as many bytes; the load may be unaligned.
        let bytes = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
        // SAFETY: the chunk has as many bytes, and is aligned by [lines].
        unsafe { _mm256_stream_si256(to.as_mut_ptr().cast(), bytes) };
    }
}

/// Copies whole lines.
///
/// In assembly, as the oldest compiler that builds this crate has no intrinsics for these.
///
/// # Safety
///
/// - `[features]` The processor has AVX-512F, and the system saves its registers.
/// - `[lines]` As for [`copy_sse2`].
pub(super) unsafe fn copy_avx512(to: &mut [u8], from: &[u8]) {
    let lines = to.len().min(from.len()) / LINE;
    if lines == 0 {
        return;
    }
    // SAFETY: the instructions are there by [features]. They read `lines`
    // lines of one slice and write as many of the other, which is aligned by
    // [lines]. What they change is named, the registers of the last line as
    // a convention's: none but the loop's are used, and zmm16 leaves no state
    // behind that would slow later code down.
    unsafe {
        asm!(
            "2:",
            "vmovdqu64 zmm16, [rsi]",
            "vmovntdq [rdi], zmm16",
            "add rsi, 64",
            "add rdi, 64",
            "dec rcx",
            "jnz 2b",
            inout("rdi") to.as_mut_ptr() => _,
            inout("rsi") from.as_ptr() => _,
            inout("rcx") lines => _,
            clobber_abi("sysv64"),
            options(nostack),
        );
    }
}

/// Orders the stores before it with those after it.
pub(super) fn fence() {
    // SAFETY: every x86-64 has the instruction; it touches no memory.
    unsafe { _mm_sfence() };
}
