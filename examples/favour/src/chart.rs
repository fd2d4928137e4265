//! The chart: the waits of the paying clients, on a logarithmic scale.

use crate::Outcome;
use crate::report::{Row, grouped};
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (860, 360);
const COLOURS: [RGBColor; 2] = [RGBColor(134, 182, 224), RGBColor(31, 105, 173)];

pub(crate) fn draw(rows: &[Row], path: &Path) -> Outcome<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let micros = |row: &Row, share| row.quantile(share).as_secs_f64() * 1e6;
    let most = rows.iter().map(|row| micros(row, 0.99)).fold(1e3, f64::max);
    let count = i32::try_from(rows.len())?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "How long 20 paying clients wait while 1,000 others flood the server (µs, logarithmic)",
            ("sans-serif", 19),
        )
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..f64::from(count) - 0.5, (10.0..most * 3.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_label_formatter(&|micros| grouped(*micros))
        .label_style(("sans-serif", 14))
        .draw()?;
    for (series, (share, name)) in [(0.5, "median"), (0.99, "99th percentile")].into_iter().enumerate() {
        let colour = COLOURS[series];
        let left = -0.36 + 0.37 * f64::from(u8::try_from(series)?);
        let bars = rows.iter().enumerate().map(|(at, row)| {
            let x = at as f64 + left;
            Rectangle::new([(x, 10.0), (x + 0.34, micros(row, share))], colour.filled())
        });
        chart
            .draw_series(bars)?
            .label(name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 14, y + 6)], colour.filled()));
        let labels = rows.iter().enumerate().map(|(at, row)| {
            let value = micros(row, share);
            let style = ("sans-serif", 13).into_font().into_text_style(&root);
            let style = style.pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Center,
                plotters::style::text_anchor::VPos::Bottom,
            ));
            Text::new(grouped(value.round()), (at as f64 + left + 0.17, value * 1.08), style)
        });
        chart.draw_series(labels)?;
    }
    for (at, row) in rows.iter().enumerate() {
        let style = ("sans-serif", 15).into_font().into_text_style(&root);
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let (x, y) = chart.backend_coord(&(at as f64, 10.0));
        root.draw(&Text::new(row.name.as_str(), (x, y + 10), style))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 14))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}
