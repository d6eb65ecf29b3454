//! Pictures of lines over an axis, as inline SVG that the page's style sheet colours.

use super::{Esc, scale::Scale};
use crate::words;

/// How a layer is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Line,
    /// A line that keeps its value until the next point.
    Steps,
    /// Steps with a tint below.
    Blocks,
    Dashed,
    Dots,
    /// A line with a tint below it.
    Wash,
    /// The room between a lower and an upper edge; see [`Layer::between`].
    Area,
}

/// One line, or one cloud of points, or one area.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) name: String,
    /// Colour class of the style sheet.
    pub(super) class: &'static str,
    pub(super) shape: Shape,
    pub(super) points: Vec<(f64, f64)>,
    /// Lower edge of an area, as long as the points.
    pub(super) floor: Vec<f64>,
}

impl Layer {
    pub(super) fn new(name: impl Into<String>, class: &'static str, shape: Shape, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), class, shape, points, floor: Vec::new() }
    }
}

/// An axis: its scale, where it is marked, and how marks read.
pub(super) struct Axis {
    pub(super) scale: Scale,
    pub(super) ticks: Vec<f64>,
    pub(super) words: fn(f64) -> String,
}

impl Axis {
    /// Seconds since `t = 0`, as minutes and seconds.
    pub(super) fn time(from_s: f64, to_s: f64, narrow: bool) -> Self {
        let scale = Scale::Linear { from: from_s, to: to_s.max(from_s + 1.0) };
        Self { scale, ticks: scale.clock_ticks(if narrow { 6 } else { 12 }), words: words::clock }
    }

    /// Numbers of things, the first to the last.
    pub(super) fn number(from: f64, to: f64) -> Self {
        let scale = Scale::Linear { from, to };
        let whole = scale.ticks(12).into_iter().filter(|tick| tick.fract() == 0.0);
        Self { scale, ticks: whole.collect(), words: words::number }
    }

    pub(super) fn from_zero(layers: &[Layer], words: fn(f64) -> String) -> Self {
        let scale = Scale::from_zero(layers.iter().flat_map(|layer| &layer.points).map(|point| point.1));
        Self { scale, ticks: scale.ticks(5), words }
    }

    /// From zero, in bytes, with ticks that are round in the unit they are read in.
    pub(super) fn bytes(layers: &[Layer]) -> Self {
        let most = layers.iter().flat_map(|layer| &layer.points).map(|point| point.1).fold(1.0, f64::max);
        let unit = 1024_f64.powi((most.log2() / 10.0).floor() as i32);
        let in_units = Scale::from_zero([most / unit].into_iter());
        let ticks: Vec<f64> = in_units.ticks(5).into_iter().map(|tick| tick * unit).collect();
        let to = ticks.last().copied().unwrap_or(most);
        Self { scale: Scale::Linear { from: 0.0, to: to.max(most) }, ticks, words: words::bytes }
    }

    pub(super) fn log(layers: &[Layer], words: fn(f64) -> String) -> Self {
        let scale = Scale::log_around(layers.iter().flat_map(|layer| &layer.points).map(|point| point.1));
        Self { scale, ticks: scale.ticks(7), words }
    }
}

/// A picture with its title, what it shows in words, legend and axes.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What is drawn and in which unit, in a sentence.
    pub(super) caption: &'a str,
    /// Why there is nothing to draw, should there be nothing.
    pub(super) empty: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) layers: Vec<Layer>,
    /// Moments to mark: position on the x axis, and name.
    pub(super) moments: &'a [(f64, String)],
    /// Half the page's width.
    pub(super) narrow: bool,
}

/// Where the plot lies in the picture, in SVG units, which are CSS pixels at full width.
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Chart<'_> {
    pub(super) fn html(&self) -> String {
        let layers: Vec<&Layer> = self.layers.iter().filter(|layer| !layer.points.is_empty()).collect();
        let head = format!("<h3>{}</h3><figcaption>{}</figcaption>", Esc(self.title), Esc(self.caption));
        if layers.is_empty() {
            return format!("<figure>{head}<div class=\"empty\"><p>{}</p></div></figure>\n", Esc(self.empty));
        }
        let (width, height) = if self.narrow { (496.0, 230.0) } else { (1024.0, 260.0) };
        let top = if self.moments.is_empty() { 8.0 } else { 22.0 };
        let frame = Frame { left: 62.0, right: width - 14.0, top, bottom: height - 24.0 };
        let mut svg = format!(
            "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
            Esc(&format!("{}. {}", self.title, self.caption))
        );
        self.draw_axes(&frame, &mut svg);
        self.draw_moments(&frame, &mut svg);
        for layer in &layers {
            self.draw_layer(&frame, layer, &mut svg);
        }
        svg.push_str("</svg>");
        let room = if self.narrow { "plot" } else { "plot wide" };
        format!("<figure>{head}{}<div class=\"{room}\">{svg}</div></figure>\n", legend(&layers))
    }

    fn place(&self, frame: &Frame, (x, y): (f64, f64)) -> (f64, f64) {
        (
            frame.left + self.x.scale.share(x) * (frame.right - frame.left),
            frame.bottom - self.y.scale.share(y) * (frame.bottom - frame.top),
        )
    }

    fn draw_axes(&self, frame: &Frame, svg: &mut String) {
        let Frame { left, right, bottom, .. } = *frame;
        for tick in &self.y.ticks {
            let y = self.place(frame, (0.0, *tick)).1;
            svg.push_str(&format!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
            let (x, y, words) = (left - 8.0, y + 4.0, (self.y.words)(*tick));
            svg.push_str(&format!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>", Esc(&words)));
        }
        svg.push_str(&format!("<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>"));
        for tick in &self.x.ticks {
            let x = self.place(frame, (*tick, 0.0)).0;
            let (under, y) = (bottom + 4.0, bottom + 18.0);
            svg.push_str(&format!("<path class=\"axis\" d=\"M{x:.1} {bottom}V{under}\"/>"));
            let words = (self.x.words)(*tick);
            // At the right edge there is no room for half of it.
            let half = words.len() as f64 * 3.5;
            let (x, anchor) = if x + half > right + 14.0 { (right + 14.0, "end") } else { (x, "middle") };
            svg.push_str(&format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>", Esc(&words)));
        }
    }

    fn draw_moments(&self, frame: &Frame, svg: &mut String) {
        let mut free_from = f64::MIN;
        for (at, name) in self.moments {
            let Scale::Linear { from, to } = self.x.scale else { continue };
            if !(from..=to).contains(at) {
                continue;
            }
            let x = self.place(frame, (*at, 0.0)).0;
            svg.push_str(&format!("<path class=\"moment\" d=\"M{x:.1} {}V{}\"/>", frame.top - 6.0, frame.bottom));
            // A name that would run into the one before it, or out of the picture, is left out; its line stays.
            let width = name.chars().count() as f64 * 6.2 + 8.0;
            if x >= free_from && x + width <= frame.right + 14.0 {
                let (x, y) = (x + 4.0, frame.top - 8.0);
                svg.push_str(&format!("<text class=\"moment-name\" x=\"{x:.1}\" y=\"{y}\">{}</text>", Esc(name)));
                free_from = x + width;
            }
        }
    }

    fn draw_layer(&self, frame: &Frame, layer: &Layer, svg: &mut String) {
        let Layer { name, class, shape, points, floor } = layer;
        let mut path = String::new();
        let mut previous_y = None;
        for point in points {
            let (x, y) = self.place(frame, *point);
            match (shape, previous_y) {
                (Shape::Dots, _) => {
                    path.push_str(&format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/>"))
                }
                (_, None) => path.push_str(&format!("M{x:.1} {y:.1}")),
                (Shape::Steps | Shape::Blocks, Some(_)) => path.push_str(&format!("H{x:.1}V{y:.1}")),
                (_, Some(_)) => path.push_str(&format!("L{x:.1} {y:.1}")),
            }
            previous_y = Some(y);
        }
        let title = format!("<title>{}</title>", Esc(name));
        let drawn = match shape {
            Shape::Dots => path,
            Shape::Dashed => format!("<path class=\"dashed\" d=\"{path}\"/>"),
            Shape::Line | Shape::Steps => format!("<path class=\"line\" d=\"{path}\"/>"),
            Shape::Wash | Shape::Blocks => {
                let (first, last) = (points[0].0, points[points.len() - 1].0);
                let ends = [last, first].map(|x| self.place(frame, (x, 0.0)).0);
                let bottom = frame.bottom;
                format!(
                    "<path class=\"wash\" d=\"{path}L{:.1} {bottom}H{:.1}Z\"/><path class=\"line\" d=\"{path}\"/>",
                    ends[0], ends[1]
                )
            }
            Shape::Area => {
                let edge = points.iter().zip(floor).rev().map(|((x, _), low)| self.place(frame, (*x, *low)));
                let edge: String = edge.map(|(x, y)| format!("L{x:.1} {y:.1}")).collect();
                format!("<path class=\"area\" d=\"{path}{edge}Z\"/>")
            }
        };
        svg.push_str(&format!("<g class=\"{class}\">{title}{drawn}</g>"));
    }
}

/// The names of the layers with their colours; nothing where the title already says what the only one is.
pub(super) fn legend(layers: &[&Layer]) -> String {
    let entry = |layer: &&Layer| {
        let mark = match layer.shape {
            Shape::Area => "area",
            Shape::Dots => "dots",
            Shape::Dashed => "dashed",
            Shape::Line | Shape::Steps | Shape::Blocks | Shape::Wash => "stroke",
        };
        format!("<li class=\"{}\"><i class=\"{mark}\"></i><span>{}</span></li>", layer.class, Esc(&layer.name))
    };
    format!("<ul class=\"legend\">{}</ul>", layers.iter().map(entry).collect::<String>())
}
