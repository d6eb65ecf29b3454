//! The report: one page that needs nothing but itself, readable without scripts, in light and dark.
//!
//! Pictures are drawn by hand-written SVG (`chart`, `scale`) and not by plotters: its SVG backend writes colours and
//! fonts into every element, takes no classes and escapes no text into `<title>`, so a page could neither follow the
//! reader's light or dark setting nor keep one colour for one thing.

mod chart;
mod cloud;
mod edge;
mod harness;
mod load;
mod phases;
mod points;
mod scale;
mod setup;
mod trouble;
mod verdict;

use std::fmt::{self, Write as _};

use recording::Recording;

use crate::{Analysis, words};

pub(crate) use edge::edge_page;

/// Text made safe for HTML, in elements and in quoted attributes.
struct Esc<'a>(&'a str);

impl fmt::Display for Esc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // A control character is no HTML, escaped or not.
                c if c.is_control() && c != '\n' && c != '\t' => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// What the sections of the page draw on.
struct Run<'a> {
    recording: &'a Recording,
    analysis: &'a Analysis,
    /// Start and end of the time that counts, in seconds; the whole run when the load never began.
    window_s: (f64, f64),
    /// Start and end of what was recorded, in seconds.
    all_s: (f64, f64),
    /// When each phase began and each incident happened, in seconds, and its name as people read it.
    moments: Vec<(f64, String)>,
}

impl<'a> Run<'a> {
    fn new(recording: &'a Recording, analysis: &'a Analysis) -> Self {
        let end_s = analysis.summary.duration_s;
        let window_s = analysis.window_ms.map_or((0.0, end_s), |(from, to)| (from / 1e3, to / 1e3));
        // Bringing the cloud up is not what the pictures are about.
        let register = analysis.phases.iter().find(|(_, name)| name == "register").map_or(0.0, |(t_ms, _)| t_ms / 1e3);
        let phases = analysis.phases.iter().map(|(t_ms, name)| (t_ms / 1e3, name.replace('_', " ")));
        let incidents = recording.events.iter().filter(|event| event.kind == "incident");
        let incidents = incidents.filter_map(|event| {
            let kind = event.detail.split(',').next()?;
            Some((event.t_ms / 1e3, kind.replace('_', " ")))
        });
        let mut moments: Vec<(f64, String)> = phases.chain(incidents).collect();
        moments.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { recording, analysis, window_s, all_s: (register, end_s), moments }
    }
}

/// A section of the page: anchor, title, what it says.
struct Section {
    anchor: String,
    title: String,
    body: String,
}

/// The page. `raw_files` are names relative to it, to be linked at the end.
pub fn page(recording: &Recording, analysis: &Analysis, raw_files: &[String]) -> String {
    let run = Run::new(recording, analysis);
    let mut sections: Vec<Section> = verdict::findings(&run).into_iter().collect();
    sections.push(setup::section(&run));
    sections.extend(phases::sections(&run));
    sections.push(load::section(&run));
    sections.push(cloud::fleet(&run));
    sections.push(cloud::rpc(&run));
    sections.push(cloud::inside(&run));
    if recording.manifest.target != "sim" {
        sections.push(harness::section(&run));
    }
    sections.push(setup::tuning(&run));
    sections.push(trouble::section(&run));
    sections.push(setup::files(raw_files));
    let link = |section: &Section| format!("<a href=\"#{}\">{}</a>", section.anchor, Esc(&section.title));
    let nav: String = sections.iter().map(link).collect::<Vec<_>>().join("\n");
    let body: String = sections
        .iter()
        .map(|Section { anchor, title, body }| {
            format!("<section id=\"{anchor}\">\n<h2>{}</h2>\n{body}</section>\n", Esc(title))
        })
        .collect();
    let summary = &analysis.summary;
    let manifest = &recording.manifest;
    Document {
        title: &format!("{} – {}", summary.scenario, words::headline(summary.outcome)),
        header: &format!("{}<nav>\n{nav}\n</nav>\n", verdict::header(&run)),
        body: &body,
        version: &manifest.harness_version,
        notes: "Latencies count from intended starts; percentiles are of HdrHistograms with three significant digits.",
        figures: crate::SUMMARY,
    }
    .html()
}

/// What every page has around what it is about. Header and body are HTML, the rest is text.
struct Document<'a> {
    title: &'a str,
    header: &'a str,
    body: &'a str,
    version: &'a str,
    /// How its figures are to be read.
    notes: &'a str,
    /// The file beside it that has them.
    figures: &'a str,
}

impl Document<'_> {
    fn html(&self) -> String {
        let Self { header, body, figures, .. } = self;
        let [title, version, notes] = [self.title, self.version, self.notes].map(Esc);
        let css = include_str!("style.css");
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title} – Kagemusha</title>\n<style>\n{css}</style>\n</head>\n<body>\n\
             <header>\n{header}</header>\n<main>\n{body}</main>\n\
             <footer>Kagemusha {version}. {notes} Figures: <a href=\"{figures}\">{figures}</a>.</footer>\n</body>\n</html>\n"
        )
    }
}

/// A table that scrolls where it is too wide. Cells are HTML, complete with their `<td>`.
fn table(head: &[&str], rows: &[String]) -> String {
    let head: String = head.iter().map(|title| format!("<th>{}</th>", Esc(title))).collect();
    let rows: String = rows.iter().map(|row| format!("<tr>{row}</tr>\n")).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n")
}

/// A cell of text.
fn td(text: &str) -> String {
    format!("<td>{}</td>", Esc(text))
}

/// A cell with a count, faint when it is zero.
fn td_count(number: u64) -> String {
    let class = if number == 0 { " class=\"zero\"" } else { "" };
    format!("<td{class}>{}</td>", words::count(number))
}

/// A cell with a latency that may be missing.
fn td_ms(latency: Option<f64>) -> String {
    td(&words::or_none(latency, words::duration_ms))
}

/// An empty state that says why there is nothing.
fn empty(why: &str) -> String {
    format!("<div class=\"empty\"><p>{}</p></div>\n", Esc(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_element_or_attribute() {
        let hostile = "</title><script>alert('x')</script>&\"\0";
        let safe = Esc(hostile).to_string();
        assert!(!safe.contains(['<', '>', '"', '\'', '\0']));
        assert_eq!(Esc("a & b").to_string(), "a &amp; b");
    }
}
