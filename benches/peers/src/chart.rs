//! The comparison as a chart: the cost of an item over the number of members. Both axes are logarithmic.

use crate::comparison::Comparison;
use crate::text::thousands;
use std::fmt::Write;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 430.0;

/// The minimum distance between the names of the lines.
const NAME_HEIGHT: f64 = 17.0;

/// Our lines are thick and have the first two colours. All colours are visible on light and on dark backgrounds.
const OURS: [&str; 2] = ["#e8590c", "#1c7ed6"];
const PEERS: [&str; 10] = [
    "#868e96", "#2f9e44", "#9c36b5", "#b08900", "#0c8599", "#a61e4d", "#5c7cfa", "#74b816", "#d6336c",
    "#8d6e63",
];

const STYLE: &str = "\
.paper { fill: #ffffff } text { font: 13px sans-serif; fill: #212529 } .title { font-size: 16px; font-weight: bold }
.small { font-size: 11px; fill: #6c757d } .grid { stroke: #dee2e6 } .ours { font-weight: bold }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #30363d }
}";

struct Line<'a> {
    name: &'a str,
    is_ours: bool,
    color: &'static str,
    /// (members, nanoseconds)
    points: Vec<(f64, f64)>,
}

impl Line<'_> {
    /// The position of its end in the chart.
    fn end(&self, axes: &Axes) -> (f64, f64) {
        let (members, ns) = *self.points.last().expect("lines without points are left out");
        (axes.x(members), axes.y(ns))
    }
}

/// Draws a comparison. `source` names the machine and the date.
pub fn svg(comparison: &Comparison, source: &str) -> String {
    let lines = lines(comparison);
    let axes = Axes::around(&lines);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>Cost of an item over the number of members</title>\n<style>\n{STYLE}\n</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"28\">Time per item, one of N members ready (less is better)</text>\n\
         <text class=\"small\" x=\"{LEFT}\" y=\"47\">{source}</text>\n"
    );
    axes.draw(&mut text);
    // Our lines are drawn last, on top.
    for line in lines.iter().filter(|line| !line.is_ours).chain(lines.iter().filter(|line| line.is_ours)) {
        draw_line(&mut text, line, &axes);
    }
    draw_names(&mut text, &lines, &axes);
    text.push_str("</svg>\n");
    text
}

fn lines(comparison: &Comparison) -> Vec<Line<'_>> {
    let (mut ours, mut peers) = (OURS.iter().cycle(), PEERS.iter().cycle());
    let mut lines = Vec::new();
    for (column, name) in comparison.names.iter().enumerate() {
        let is_ours = comparison.ours[column];
        let color = if is_ours { ours.next() } else { peers.next() }.expect("they cycle");
        let point = |size: &crate::comparison::Size| Some((size.members as f64, size.median(column)?));
        let points: Vec<_> = comparison.sizes.iter().filter_map(point).collect();
        if !points.is_empty() {
            lines.push(Line { name, is_ours, color, points });
        }
    }
    lines
}

/// The decades, as exponents of ten.
struct Axes {
    x: (f64, f64),
    y: (f64, f64),
}

impl Axes {
    fn around(lines: &[Line<'_>]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        Self { x: decades(points().map(|point| point.0)), y: decades(points().map(|point| point.1)) }
    }

    fn x(&self, members: f64) -> f64 {
        LEFT + (members.log10() - self.x.0) / (self.x.1 - self.x.0) * (RIGHT - LEFT)
    }

    fn y(&self, ns: f64) -> f64 {
        BOTTOM - (ns.log10() - self.y.0) / (self.y.1 - self.y.0) * (BOTTOM - TOP)
    }

    fn draw(&self, text: &mut String) {
        for ns in powers_of_ten(self.y) {
            let y = self.y(ns);
            draw(text, format_args!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"));
            let (x, y) = (LEFT - 8.0, y + 4.0);
            draw(text, format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", time(ns)));
        }
        for members in powers_of_ten(self.x) {
            let x = self.x(members);
            draw(text, format_args!("<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>"));
            let (y, label) = (BOTTOM + 20.0, thousands(members.round() as usize));
            draw(text, format_args!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>"));
        }
        let (x, y) = ((LEFT + RIGHT) / 2.0, BOTTOM + 45.0);
        draw(text, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">members</text>"));
    }
}

fn decades(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let least = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
    let most = values.fold(0.0, f64::max).log10().ceil();
    (least, most.max(least + 1.0))
}

fn powers_of_ten((from, to): (f64, f64)) -> impl Iterator<Item = f64> {
    (from as i32..=to as i32).map(|exponent| 10_f64.powi(exponent))
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns} ns"),
        ..1e6 => format!("{} µs", ns / 1e3),
        _ => format!("{} ms", ns / 1e6),
    }
}

fn draw_line(text: &mut String, line: &Line<'_>, axes: &Axes) {
    let (width, radius) = if line.is_ours { (3.5, 4.5) } else { (1.5, 2.5) };
    let color = line.color;
    let points: Vec<_> = line.points.iter().map(|&(members, ns)| (axes.x(members), axes.y(ns))).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let path = path.join(" ");
    draw(
        text,
        format_args!(
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"/>"
        ),
    );
    for (x, y) in points {
        draw(text, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{color}\"/>"));
    }
}

/// Draws each name at the end of its line, or as near as the other names allow.
fn draw_names(text: &mut String, lines: &[Line<'_>], axes: &Axes) {
    let mut ends: Vec<_> = lines.iter().map(|line| (line.end(axes), line)).collect();
    ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let heights = spread(ends.iter().map(|end| end.0.1).collect());
    for (((x, y), line), height) in ends.into_iter().zip(heights) {
        let (color, name) = (line.color, line.name);
        let class = if line.is_ours { " class=\"ours\"" } else { "" };
        let (near, far, start, base) = (x + 7.0, RIGHT + 22.0, RIGHT + 27.0, height + 4.0);
        draw(text, format_args!("<path d=\"M{near:.1} {y:.1}L{far} {height:.1}\" stroke=\"{color}\"/>"));
        draw(text, format_args!("<text{class} x=\"{start}\" y=\"{base:.1}\">{name}</text>"));
    }
}

/// Moves sorted heights apart until there is room for a name at each.
fn spread(mut heights: Vec<f64>) -> Vec<f64> {
    // Each pass moves neighbours apart if they are too near. A few hundred passes suffice for a dozen names.
    for _ in 0..500 {
        for at in 1..heights.len() {
            let missing = NAME_HEIGHT - (heights[at] - heights[at - 1]);
            if missing > 0.0 {
                heights[at - 1] -= missing / 2.0;
                heights[at] += missing / 2.0;
            }
        }
    }
    heights
}

fn draw(text: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(text, "{element}").expect("a string takes it all");
}
