//! Plots as inline SVG: lines, steps, stacked bars.
//!
//! Everything is drawn with classes, so that the page's style sheet decides on colours and a dark
//! background or a printer gets its own. Nothing is loaded from anywhere.

use std::fmt::Write as _;

use super::page::escape;

/// Size of a plot with its margins, in SVG units.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// Height of one bar and the gap below it.
const BAR: f64 = 18.0;
const BAR_GAP: f64 = 8.0;
/// Number of colours that the style sheet knows; more series begin again.
const COLOURS: usize = 10;

/// From figures to places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Scale {
    /// Maps `low..high` evenly onto `from..to`. An empty range is widened, so that it has a middle.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, from, to, logarithmic: false }
    }

    /// Maps `low..high` onto `from..to` by the logarithm; both ends are made positive.
    pub fn logarithmic(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = if low > 0.0 { low } else { 1e-9 };
        let high = if high > low { high } else { low * 10.0 };
        Self { low, high, from, to, logarithmic: true }
    }

    /// Where a figure stands; what is beyond an end stands at the end.
    pub fn at(&self, figure: f64) -> f64 {
        let figure = if figure.is_nan() { self.low } else { figure.clamp(self.low, self.high) };
        let share = if self.logarithmic {
            (figure / self.low).ln() / (self.high / self.low).ln()
        } else {
            (figure - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round figures to write beside the axis.
    pub fn ticks(&self) -> Vec<f64> {
        // Within one decade a logarithm is nearly even.
        let wide = self.high / self.low > 10.0;
        if self.logarithmic && wide { self.decades() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let factors: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        (first..=last)
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)))
            .filter(|tick| (self.low * 0.999..=self.high * 1.001).contains(tick))
            .collect()
    }
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// What the axes of a plot say.
#[derive(Clone, Copy, Debug)]
pub struct Axes<'a> {
    /// What runs to the right, with its unit.
    pub x: &'a str,
    /// What runs upward, with its unit.
    pub y: &'a str,
    /// Whether the x axis is logarithmic.
    pub log_x: bool,
    /// Whether the y axis is logarithmic; otherwise it begins at zero.
    pub log_y: bool,
}

/// Lines over a plane, with a legend.
pub fn lines(title: &str, axes: Axes<'_>, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let range = |of: fn((f64, f64)) -> f64, positive: bool| {
        points()
            .map(of)
            .filter(|figure| figure.is_finite() && (!positive || *figure > 0.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| {
                (low.min(figure), high.max(figure))
            })
    };
    let (x_low, x_high) = range(|point| point.0, axes.log_x);
    let (y_low, y_high) = range(|point| point.1, axes.log_y);
    if !x_low.is_finite() || !y_low.is_finite() {
        return String::new();
    }
    let (left, right, bottom, top) = (LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP);
    let x = if axes.log_x {
        Scale::logarithmic(x_low, x_high, left, right)
    } else {
        Scale::linear(x_low.min(0.0), x_high, left, right)
    };
    let y = if axes.log_y {
        Scale::logarithmic(y_low, y_high, bottom, top)
    } else {
        Scale::linear(0.0, y_high * 1.04, bottom, top)
    };
    let mut svg = open(title, HEIGHT);
    frame(&mut svg, axes, x, y);
    for (index, line) in lines.iter().enumerate() {
        let mut path = String::new();
        for point in &line.points {
            let _ = write!(path, "{:.1},{:.1} ", x.at(point.0), y.at(point.1));
        }
        let colour = index % COLOURS;
        let dash = if index >= COLOURS { " dashed" } else { "" };
        let _ =
            writeln!(svg, "<polyline class=\"line c{colour}{dash}\" points=\"{}\"/>", path.trim());
    }
    svg.push_str("</svg>\n");
    figure(title, &svg, &legend(lines.iter().map(|line| line.name.as_str())))
}

/// Grid, ticks and names of the axes.
fn frame(svg: &mut String, axes: Axes<'_>, x: Scale, y: Scale) {
    let bottom = HEIGHT - BOTTOM;
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
            <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            short(tick)
        );
    }
    for tick in y.ticks() {
        let at = y.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{}\" y2=\"{at:.1}\"/>\
            <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(tick)
        );
    }
    let middle = f64::midpoint(TOP, bottom);
    let _ = writeln!(
        svg,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
        <text class=\"axis\" x=\"14\" y=\"{middle:.1}\" text-anchor=\"middle\" \
        transform=\"rotate(-90 14 {middle:.1})\">{}</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0,
        escape(axes.x),
        escape(axes.y)
    );
}

/// One bar of parts that add up.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Its parts, in the order of the plot's names of parts.
    pub parts: Vec<f64>,
    /// What stands behind it.
    pub note: String,
}

/// Bars to the right, from longest part to last, one a line.
pub fn bars(title: &str, unit: &str, parts: &[&str], bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    if longest <= 0.0 {
        return String::new();
    }
    let (left, right) = (100.0, WIDTH - 130.0);
    let height = TOP + bars.len() as f64 * (BAR + BAR_GAP) + BOTTOM;
    let x = Scale::linear(0.0, longest, left, right);
    let bottom = height - BOTTOM;
    let mut svg = open(title, height);
    for tick in x.ticks() {
        let at = x.at(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\"/>\
            <text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            short(tick)
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + row as f64 * (BAR + BAR_GAP);
        let text = y + BAR - 5.0;
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>",
            left - 8.0,
            escape(&bar.name)
        );
        let mut done = 0.0;
        for (index, part) in bar.parts.iter().enumerate() {
            let (from, to) = (x.at(done), x.at(done + part));
            done += part;
            let _ = writeln!(
                svg,
                "<rect class=\"part c{}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\"/>",
                index % COLOURS,
                (to - from).max(0.0)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{text:.1}\">{}</text>",
            x.at(done) + 6.0,
            escape(&bar.note)
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text></svg>",
        f64::midpoint(left, right),
        height - 8.0,
        escape(unit)
    );
    let legend = if parts.len() > 1 { legend(parts.iter().copied()) } else { String::new() };
    figure(title, &svg, &legend)
}

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title)
    )
}

fn legend<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut html = String::from("<p class=\"legend\">");
    for (index, name) in names.enumerate() {
        let colour = index % COLOURS;
        let _ = write!(html, "<span><i class=\"c{colour}\"></i>{}</span> ", escape(name));
    }
    html.push_str("</p>\n");
    html
}

fn figure(title: &str, svg: &str, legend: &str) -> String {
    format!("<figure>\n<figcaption>{}</figcaption>\n{legend}{svg}</figure>\n", escape(title))
}

/// A figure beside an axis: short, with a letter for thousands and millions.
pub fn short(figure: f64) -> String {
    let (figure, letter) = match figure.abs() {
        size if size >= 1e6 => (figure / 1e6, "M"),
        size if size >= 1e4 => (figure / 1e3, "k"),
        _ => (figure, ""),
    };
    let text = match figure.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => format!("{figure:.0}"),
        size if size >= 1.0 => format!("{figure:.1}"),
        size if size >= 0.1 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    };
    format!("{text}{letter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-6
    }

    #[test]
    fn a_linear_scale_maps_ends_and_middle() {
        let scale = Scale::linear(0.0, 10.0, 100.0, 200.0);
        assert!(near(scale.at(0.0), 100.0) && near(scale.at(5.0), 150.0));
        assert!(near(scale.at(99.0), 200.0) && near(scale.at(-1.0), 100.0));
        assert!(near(scale.at(f64::NAN), 100.0));
        assert_eq!(scale.ticks(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn a_logarithmic_scale_gives_every_decade_the_same_room() {
        let scale = Scale::logarithmic(1.0, 10_000.0, 0.0, 400.0);
        assert!(near(scale.at(10.0), 100.0) && near(scale.at(1000.0), 300.0));
        assert_eq!(scale.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!(near(Scale::logarithmic(0.0, 1.0, 0.0, 1.0).at(0.0), 0.0));
    }

    #[test]
    fn a_range_without_width_is_drawn_all_the_same() {
        let scale = Scale::linear(3.0, 3.0, 0.0, 10.0);
        assert!(scale.at(3.0).is_finite() && !scale.ticks().is_empty());
        let axes = Axes { x: "x", y: "y", log_x: false, log_y: false };
        let line = Line { name: "a".into(), points: vec![(0.0, 0.0)] };
        assert!(lines("one", axes, &[line]).contains("polyline"));
        assert!(lines("none", axes, &[]).is_empty());
        assert!(bars("none", "s", &["a"], &[]).is_empty());
    }

    #[test]
    fn figures_beside_an_axis_are_short() {
        let texts = [0.005, 0.25, 1.5, 20.0, 12_000.0, 3_400_000.0].map(short);
        assert_eq!(texts, ["0.005", "0.25", "1.5", "20", "12k", "3.4M"]);
    }
}
