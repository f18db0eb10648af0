//! The operating system's numbers that `indexes=` gives to a level's objects.

use super::grammar::{Level, number};
use super::level::Kind;

/// One loop of an interleaving: objects `step` apart are neighbours in number, `count` times.
#[derive(Clone, Copy)]
struct Loop {
    step: usize,
    count: usize,
}

/// Returns the numbers of `total` objects: `text` is a full list such as `0,2,1,3`,
/// loops such as `2*2:1*2`, or the levels to interleave by, such as `node:core`.
///
/// The numbers are below `limit` and no two are the same.
pub(super) fn assign(
    text: &str,
    total: usize,
    limit: usize,
    levels: &[Level<'_>],
) -> Result<Vec<u32>, String> {
    let numbers = match text.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
        true => listed(text, total)?,
        false => interleaved(loops(text, total, levels)?, total),
    };
    let limit = limit.max(total);
    let mut taken = vec![false; limit];
    for &number in &numbers {
        match taken.get_mut(number as usize) {
            None => {
                return Err(format!("index {number} is too large; the largest is {}", limit - 1));
            }
            Some(true) => return Err(format!("index {number} is given twice")),
            Some(free) => *free = true,
        }
    }
    Ok(numbers)
}

/// Reads a full list.
fn listed(text: &str, total: usize) -> Result<Vec<u32>, String> {
    let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
    let numbers = numbers.map_err(|_| "a list of indexes is numbers between commas".to_owned())?;
    match numbers.len() {
        count if count == total => Ok(numbers),
        count => Err(format!("{count} indexes are given for {total} objects")),
    }
}

/// Reads the loops of an interleaving and adds the innermost one where it is left out.
fn loops(text: &str, total: usize, levels: &[Level<'_>]) -> Result<Vec<Loop>, String> {
    let mut loops = match text.starts_with(|c: char| c.is_ascii_digit()) {
        true => text.split(':').map(numbered).collect::<Result<Vec<_>, _>>()?,
        false => by_level(text, total, levels)?,
    };
    let count = loops.iter().try_fold(1_usize, |count, each| count.checked_mul(each.count));
    let count = count.filter(|&count| count <= total).unwrap_or(0);
    let smallest = loops.iter().map(|each| each.step).min().unwrap_or(1);
    if count == total {
        Ok(loops)
    } else if count > 0 && total % count == 0 && smallest == total / count {
        loops.push(Loop { step: 1, count: smallest });
        Ok(loops)
    } else {
        Err(format!("the loops do not visit each of the {total} objects once"))
    }
}

/// Reads `step*count`.
fn numbered(text: &str) -> Result<Loop, String> {
    let whole = |text| number(text).filter(|(value, rest)| *value > 0 && rest.is_empty());
    let read = |text| usize::try_from(whole(text)?.0).ok();
    let (step, count) = text.split_once('*').unwrap_or((text, ""));
    match (read(step), read(count)) {
        (Some(step), Some(count)) => Ok(Loop { step, count }),
        _ => Err(format!("{text:?} is no loop; one is a step and a count, such as 2*4")),
    }
}

/// Turns level names into loops: one over the objects of each level within the next outer one named.
fn by_level(text: &str, total: usize, levels: &[Level<'_>]) -> Result<Vec<Loop>, String> {
    // The last level has nothing below it to interleave.
    let above = &levels[..levels.len() - 1];
    let depth = |name: &str| {
        let kind = Kind::parse(name)
            .map_err(|_| format!("{name:?} is neither an index, a loop, nor a type of level"))?;
        let depth = above.iter().position(|level| kind.matches(level.kind));
        depth.ok_or_else(|| format!("no level of type {name} stands above the last"))
    };
    let depths = text.split(':').map(depth).collect::<Result<Vec<_>, String>>()?;
    let one = |(index, &depth): (usize, &usize)| {
        if depths[..index].contains(&depth) {
            return Err("a type is named twice".to_owned());
        }
        let outer = depths.iter().copied().filter(|&other| other < depth).max().unwrap_or(0);
        let width = levels[depth].width;
        if width > total {
            return Err("a level is named that has more objects than are to be numbered".to_owned());
        }
        Ok(Loop { step: total / width, count: width / levels[outer].width })
    };
    depths.iter().enumerate().map(one).collect()
}

/// Numbers objects by loops, the first one fastest.
fn interleaved(loops: Vec<Loop>, total: usize) -> Vec<u32> {
    let number = |object: usize| {
        let mut factor = 1;
        let mut number = 0;
        for each in &loops {
            number += (object / each.step) % each.count * factor;
            factor *= each.count;
        }
        // Below the product of the counts, which is `total`.
        number as u32
    };
    (0..total).map(number).collect()
}
