//! What a plot consists of, before it is drawn.

/// One picture of a plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Panel {
    Bars(Bars),
    Lines(Lines),
}

/// A case with a bar for each runtime.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bars {
    pub(super) title: String,
    /// What the length of a bar is, with its unit.
    pub(super) axis: String,
    pub(super) bars: Vec<Bar>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) ours: bool,
    /// The median.
    pub(super) value: f64,
    /// The least and the most that was measured.
    pub(super) low: f64,
    pub(super) high: f64,
}

/// A case with a line for each runtime, over the number of threads.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lines {
    pub(super) title: String,
    /// What the height of a point is, with its unit.
    pub(super) axis: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) label: String,
    pub(super) ours: bool,
    /// Threads and value, by threads ascending.
    pub(super) points: Vec<(usize, f64)>,
}

/// An axis: from where to where, and whether its steps are factors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) logarithmic: bool,
}

/// Values that are further apart than this are told apart only where steps are factors.
const FAR_APART: f64 = 50.0;

impl Scale {
    /// Returns an axis that shows all values, which are not negative.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        let to = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        if to <= 0.0 {
            return Self { from: 0.0, to: 1.0, logarithmic: false };
        }
        if least > 0.0 && to / least > FAR_APART {
            // A whole power of ten, so that every bar has some length.
            let from = 10_f64.powf((least / 1.5).log10().floor());
            return Self { from, to: to * 3.0, logarithmic: true };
        }
        Self { from: 0.0, to: to * 1.18, logarithmic: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_apart_have_an_axis_of_factors() {
        let near = Scale::of([1.0, 20.0].into_iter());
        assert!(!near.logarithmic && near.from == 0.0 && near.to > 20.0, "{near:?}");
        let far = Scale::of([300.0, 15_000_000.0].into_iter());
        assert_eq!((far.logarithmic, far.from), (true, 100.0));
        assert!(far.to > 15_000_000.0);
    }

    #[test]
    fn nothing_and_zeros_have_an_axis_too() {
        for values in [&[][..], &[0.0], &[f64::NAN, f64::INFINITY]] {
            let scale = Scale::of(values.iter().copied());
            assert!(scale.from < scale.to, "{values:?}: {scale:?}");
        }
        assert!(!Scale::of([0.0, 5.0].into_iter()).logarithmic);
    }
}
