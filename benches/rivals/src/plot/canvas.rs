//! The few shapes that the plot is made of.

use std::fmt::Write;

pub const INK: &str = "#1f2328";
pub const MUTED: &str = "#656d76";
pub const GRID: &str = "#e3e6ea";

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

pub struct Canvas {
    width: f64,
    shapes: String,
}

impl Canvas {
    pub fn new(width: f64) -> Canvas {
        Canvas { width, shapes: String::new() }
    }

    fn push(&mut self, shape: std::fmt::Arguments<'_>) {
        writeln!(self.shapes, "{shape}").expect("a String takes everything");
    }

    pub fn heading(&mut self, x: f64, y: f64, text: &str) {
        self.push(format_args!(r#"<text x="{x}" y="{y}" fill="{INK}" font-size="22" font-weight="600">{}</text>"#, escape(text)));
    }

    pub fn title(&mut self, x: f64, y: f64, text: &str) {
        self.push(format_args!(r#"<text x="{x:.1}" y="{y:.1}" fill="{INK}" font-weight="600">{}</text>"#, escape(text)));
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, colour: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(r#"<text x="{x:.1}" y="{y:.1}" fill="{colour}" text-anchor="{anchor}">{}</text>"#, escape(text)));
    }

    pub fn rectangle(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.push(format_args!(r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="1.5" fill="{colour}"/>"#));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.push(format_args!(r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}"/>"#));
    }

    pub fn path(&mut self, points: &[(f64, f64)], colour: &str, dashed: bool) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let (points, dashes) =
            (points.join(" "), if dashed { r#" stroke-dasharray="4 3" stroke-width="1.2""# } else { r#" stroke-width="2""# });
        self.push(format_args!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-linejoin="round"{dashes}/>"#));
    }

    pub fn finish(self, height: f64) -> String {
        let Canvas { width, shapes } = self;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
{shapes}</svg>
"##
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
