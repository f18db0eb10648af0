//! Drawing panels into one SVG, two beside each other.

use anyhow::anyhow;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::panel::{Bars, Line, Lines, Panel, Scale};

const COLUMNS: usize = 2;
const WIDTH: u32 = 640;
const TITLE_HEIGHT: u32 = 50;
const LINES_HEIGHT: u32 = 400;
/// A bar's share of a panel's height, and what titles and axes take.
const BAR_HEIGHT: u32 = 26;
const AROUND_BARS: u32 = 100;

const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(0xC2, 0x18, 0x5B);
const THEIRS: RGBColor = RGBColor(0x78, 0x90, 0xA8);
const GRID: RGBColor = RGBColor(0xE0, 0xE0, 0xE0);

/// Colours of rivals' lines, told apart by those who see few colours too; shapes repeat with them.
const RIVALS: [RGBColor; 8] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x60, 0x60, 0x60),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x8C, 0x56, 0x4B),
    RGBColor(0x9A, 0x9A, 0x00),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws all panels below a title.
pub(super) fn svg(title: &str, panels: &[Panel]) -> anyhow::Result<String> {
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let heights: Vec<u32> =
        rows.iter().map(|row| row.iter().map(height).max().unwrap_or(0)).collect();
    let size = (WIDTH * COLUMNS as u32, TITLE_HEIGHT + heights.iter().sum::<u32>());
    let mut text = String::new();
    draw(title, &rows, &heights, SVGBackend::with_string(&mut text, size))
        .map_err(|error| anyhow!("the plot cannot be drawn: {error}"))?;
    Ok(text)
}

fn height(panel: &Panel) -> u32 {
    match panel {
        Panel::Lines(_) => LINES_HEIGHT,
        Panel::Bars(bars) => AROUND_BARS + BAR_HEIGHT * bars.bars.len() as u32,
    }
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(title: &str, rows: &[&[Panel]], heights: &[u32], svg: SVGBackend<'_>) -> Drawn {
    let whole = svg.into_drawing_area();
    whole.fill(&WHITE)?;
    let title = format!("{title}: medians; thin lines from the least to the most measured");
    let mut below = whole.titled(&title, (FONT, 24))?;
    for (row, &height) in rows.iter().zip(heights) {
        let (this, rest) = below.split_vertically(height);
        below = rest;
        for (area, panel) in this.split_evenly((1, COLUMNS)).iter().zip(*row) {
            match panel {
                Panel::Bars(bars) => draw_bars(area, bars)?,
                Panel::Lines(lines) => draw_lines(area, lines)?,
            }
        }
    }
    whole.present()?;
    Ok(())
}

fn draw_bars(area: &Area<'_>, bars: &Bars) -> Drawn {
    let scale = Scale::of(bars.bars.iter().flat_map(|bar| [bar.value, bar.high]));
    // Rows of one bar stay as high as the others' beside a taller panel.
    let (area, _) = area.split_vertically(AROUND_BARS + BAR_HEIGHT * bars.bars.len() as u32);
    if scale.logarithmic {
        bars_along(&area, bars, scale, (scale.from..scale.to).log_scale())
    } else {
        bars_along(&area, bars, scale, scale.from..scale.to)
    }
}

fn bars_along<X>(area: &Area<'_>, bars: &Bars, scale: Scale, x: X) -> Drawn
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let n = bars.bars.len();
    let mut chart = ChartBuilder::on(area)
        .caption(&bars.title, (FONT, 18))
        .margin(10)
        .margin_right(20)
        .x_label_area_size(44)
        .y_label_area_size(190)
        .build_cartesian_2d(x, 0.0..n as f64)?;
    let axis = match scale.logarithmic {
        true => format!("{}, by factors of ten", bars.axis),
        false => bars.axis.clone(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc(axis)
        .x_labels(6)
        .x_label_formatter(&|value| number(*value))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .draw()?;
    // The first runtime comes on top.
    let place = |index: usize| (n - index) as f64 - 0.5;
    let label = (FONT, 13).into_text_style(area).pos(Pos::new(HPos::Right, VPos::Center));
    let figure = (FONT, 12).into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    chart.draw_series(bars.bars.iter().enumerate().map(|(index, bar)| {
        let colour = if bar.ours { OURS } else { THEIRS };
        let end = bar.value.max(scale.from);
        Rectangle::new(
            [(scale.from, place(index) - 0.34), (end, place(index) + 0.34)],
            colour.filled(),
        )
    }))?;
    // From the least to the most that was measured.
    chart.draw_series(bars.bars.iter().enumerate().map(|(index, bar)| {
        let ends = [bar.low, bar.high].map(|value| value.clamp(scale.from, scale.to));
        PathElement::new(ends.map(|end| (end, place(index))).to_vec(), BLACK.stroke_width(1))
    }))?;
    chart.draw_series(bars.bars.iter().enumerate().map(|(index, bar)| {
        EmptyElement::at((scale.from, place(index)))
            + Text::new(bar.label.clone(), (-8, 0), label.clone())
    }))?;
    chart.draw_series(bars.bars.iter().enumerate().map(|(index, bar)| {
        let end = bar.value.max(bar.high).clamp(scale.from, scale.to);
        EmptyElement::at((end, place(index))) + Text::new(number(bar.value), (5, 0), figure.clone())
    }))?;
    Ok(())
}

fn draw_lines(area: &Area<'_>, lines: &Lines) -> Drawn {
    let points = || lines.lines.iter().flat_map(|line| &line.points);
    let scale = Scale::of(points().map(|&(_, value)| value));
    if scale.logarithmic {
        lines_along(area, lines, scale, (scale.from..scale.to).log_scale())
    } else {
        lines_along(area, lines, scale, scale.from..scale.to)
    }
}

fn lines_along<Y>(area: &Area<'_>, lines: &Lines, scale: Scale, y: Y) -> Drawn
where
    Y: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let points = || lines.lines.iter().flat_map(|line| &line.points);
    let most = points().map(|&(threads, _)| threads).max().unwrap_or(1);
    let (chart_area, legend) = area.split_horizontally(WIDTH - 170);
    let mut chart = ChartBuilder::on(&chart_area)
        .caption(&lines.title, (FONT, 18))
        .margin(10)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(0..most + 1, y)?;
    let axis = match scale.logarithmic {
        true => format!("{}, by factors of ten", lines.axis),
        false => lines.axis.clone(),
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_desc("threads, the caller included")
        .x_labels((most + 2).min(12))
        .y_desc(axis)
        .y_labels(8)
        .y_label_formatter(&|value| number(*value))
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .draw()?;
    let text = (FONT, 13).into_text_style(&legend).pos(Pos::new(HPos::Left, VPos::Center));
    let mut rivals = 0;
    // Ours comes last, so that no other line hides it.
    let (ours, theirs): (Vec<&Line>, Vec<&Line>) = lines.lines.iter().partition(|line| line.ours);
    for (row, line) in theirs.into_iter().chain(ours).enumerate() {
        let colour = if line.ours { OURS } else { RIVALS[rivals % RIVALS.len()] };
        let (hollow, width) = (rivals >= RIVALS.len() && !line.ours, if line.ours { 3 } else { 2 });
        rivals += usize::from(!line.ours);
        let path = &line.points;
        chart.draw_series(LineSeries::new(path.clone(), colour.stroke_width(width)))?;
        let dot = |at| {
            let style = if hollow { colour.stroke_width(2) } else { colour.filled() };
            Circle::new(at, 4, style)
        };
        chart.draw_series(path.iter().copied().map(dot))?;
        let y = 60 + 22 * row as i32;
        let style = if hollow { colour.stroke_width(2) } else { colour.filled() };
        legend.draw(&PathElement::new(vec![(4, y), (28, y)], colour.stroke_width(width)))?;
        legend.draw(&Circle::new((16, y), 4, style))?;
        legend.draw(&Text::new(line.label.clone(), (34, y), text.clone()))?;
    }
    Ok(())
}

/// Three digits that matter, and large and small numbers by their powers.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => trimmed(format!("{value:.1}")),
        size if size >= 1.0 => trimmed(format!("{value:.2}")),
        _ => trimmed(format!("{value:.3}")),
    }
}

fn trimmed(number: String) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let cases = [
            (0.0, "0"),
            (0.0125, "0.013"),
            (1.0, "1"),
            (2.345, "2.35"),
            (12.04, "12"),
            (345.6, "346"),
            (15_000_000.0, "1.5e7"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
