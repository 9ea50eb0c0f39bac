//! Charts as SVG, in plain shapes that any viewer shows.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// Colours of series, told apart by most people who see fewer of them.
const COLOURS: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];
const STYLE: &str = "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\"";

/// A group of bars.
#[derive(Debug)]
pub struct Bars {
    /// What they show.
    pub label: String,
    /// One for each series.
    pub values: Vec<f64>,
}

/// Writes a chart to `path`, whose folder is made where it is missing: cargo may have been told another.
pub fn write(path: &Path, chart: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, chart)
}

/// Bars of ratios, against a line at 1.
pub fn bars(title: &str, series: &[String], groups: &[Bars]) -> String {
    let (left, width, bar) = (230.0, 460.0, 13.0);
    let most = groups
        .iter()
        .flat_map(|group| &group.values)
        .fold(1.2, |a, &b| f64::max(a, b));
    let x = |value: f64| left + value / most * width;
    let group = bar * series.len() as f64 + 12.0;
    let height = 60.0 + group * groups.len() as f64 + 20.0;
    let mut svg = open(left + width + 60.0, height, title);
    legend(&mut svg, left, series);
    for (index, Bars { label, values }) in groups.iter().enumerate() {
        let top = 60.0 + group * index as f64;
        let middle = top + bar * values.len() as f64 / 2.0 + 4.0;
        text(&mut svg, left - 10.0, middle, "end", label);
        for (at, &value) in values.iter().enumerate() {
            let y = top + bar * at as f64;
            let _ = write!(
                svg,
                "<rect x=\"{left}\" y=\"{y}\" width=\"{}\" height=\"{}\" fill=\"{}\"/>",
                x(value) - left,
                bar - 2.0,
                COLOURS[at % COLOURS.len()]
            );
            text(&mut svg, x(value) + 5.0, y + bar - 3.0, "start", &format!("{value:.2}"));
        }
    }
    line(&mut svg, [(x(1.0), 52.0), (x(1.0), height - 15.0)], "#666");
    svg + "</svg>\n"
}

/// One plot of lines over a logarithmic scale, from 0 up.
#[derive(Debug)]
pub struct Plot {
    /// What it shows, with its unit.
    pub title: String,
    /// Lines by name.
    pub lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Plots side by side in rows of two, over the same axis.
pub fn plots(title: &str, axis: &str, plots: &[Plot]) -> String {
    let (width, height) = (400.0, 250.0);
    let rows = plots.len().div_ceil(2) as f64;
    let mut svg = open(width * 2.0, 40.0 + height * rows, title);
    for (index, plot) in plots.iter().enumerate() {
        let (column, row) = ((index % 2) as f64, (index / 2) as f64);
        let (left, top) = (column * width + 60.0, 40.0 + row * height + 40.0);
        one(&mut svg, plot, axis, (left, top), (width - 90.0, height - 95.0));
    }
    svg + "</svg>\n"
}

fn one(svg: &mut String, plot: &Plot, axis: &str, (left, top): (f64, f64), (width, height): (f64, f64)) {
    let points = || plot.lines.iter().flat_map(|(_, points)| points);
    let most = points().fold(0.0, |most, point| f64::max(most, point.1)) * 1.15;
    let (low, high) = points().fold((f64::MAX, f64::MIN), |(low, high), point| {
        (low.min(point.0.ln()), high.max(point.0.ln()))
    });
    let at = |&(x, y): &(f64, f64)| {
        let x = left + (x.ln() - low) / (high - low) * width;
        (x, top + height - y / most * height)
    };
    text(svg, left, top - 22.0, "start", &plot.title);
    let names: Vec<_> = plot.lines.iter().map(|(name, _)| name.clone()).collect();
    if names.len() > 1 {
        for (index, name) in names.iter().enumerate() {
            swatch(svg, (left + 120.0 * index as f64, top - 15.0), index, name);
        }
    }
    line(svg, [(left, top), (left, top + height)], "#666");
    line(svg, [(left, top + height), (left + width, top + height)], "#666");
    for part in [0.0, 0.5, 1.0] {
        let value = most * part;
        let shown = if most < 10.0 {
            format!("{value:.1}")
        } else {
            format!("{value:.0}")
        };
        text(svg, left - 6.0, top + height - height * part + 4.0, "end", &shown);
    }
    if let Some((_, points)) = plot.lines.first() {
        for point in points {
            text(svg, at(point).0, top + height + 16.0, "middle", &format!("{}", point.0));
        }
    }
    text(svg, left + width / 2.0, top + height + 32.0, "middle", axis);
    for (index, (_, points)) in plot.lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<_> = points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in points.iter().map(at) {
            let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

fn open(width: f64, height: f64, title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {STYLE}>\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>"
    );
    let _ = write!(
        svg,
        "<text x=\"14\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>",
        escaped(title)
    );
    svg
}

fn legend(svg: &mut String, left: f64, series: &[String]) {
    for (index, name) in series.iter().enumerate() {
        swatch(svg, (left + 150.0 * index as f64, 34.0), index, name);
    }
}

fn swatch(svg: &mut String, (x, y): (f64, f64), index: usize, name: &str) {
    let colour = COLOURS[index % COLOURS.len()];
    let _ = write!(
        svg,
        "<rect x=\"{x}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>"
    );
    text(svg, x + 14.0, y + 9.0, "start", name);
}

fn line(svg: &mut String, [(x1, y1), (x2, y2)]: [(f64, f64); 2], colour: &str) {
    let _ = write!(
        svg,
        "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let _ = write!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>",
        escaped(what)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
