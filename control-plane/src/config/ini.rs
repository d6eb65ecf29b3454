//! Configuration in the form of oslo.config: sections of `name = value`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::PathBuf,
};

use scenarios::{options, plan::OptionValue};

use crate::UpError;

/// The options of one service. Every option is there once, whoever set it.
#[derive(Debug)]
pub(crate) struct Ini {
    service: &'static str,
    file: PathBuf,
    /// Sections that go to another file, as the service's documentation has them.
    second: Option<(PathBuf, BTreeSet<&'static str>)>,
    options: BTreeMap<(String, String), Entry>,
}

#[derive(Debug)]
struct Entry {
    values: Vec<String>,
    set_by: SetBy,
}

#[derive(Debug)]
enum SetBy {
    /// Wires the cloud together; tuning may not change it.
    Harness,
    /// Differs from the default for this reason; tuning may change it.
    Deviation(&'static str),
    Tuning,
}

impl Ini {
    pub(crate) fn new(service: &'static str, file: impl Into<PathBuf>) -> Self {
        Self { service, file: file.into(), second: None, options: BTreeMap::new() }
    }

    /// Puts some sections into a file of their own.
    pub(crate) fn split(mut self, file: impl Into<PathBuf>, sections: &[&'static str]) -> Self {
        self.second = Some((file.into(), sections.iter().copied().collect()));
        self
    }

    /// Sets options of a section that wire the cloud together.
    pub(crate) fn own(&mut self, section: &str, options: &[(&str, &str)]) {
        for (name, value) in options {
            self.set(section, name, vec![(*value).to_owned()], SetBy::Harness);
        }
    }

    /// Sets an option that deviates from the default for a reason other than wiring.
    pub(crate) fn deviate(&mut self, section: &str, name: &str, value: &str, reason: &'static str) {
        self.set(section, name, vec![value.to_owned()], SetBy::Deviation(reason));
    }

    /// Sets what tuning asks for.
    pub(crate) fn tune(
        &mut self,
        tuning: Option<&BTreeMap<String, OptionValue>>,
        release: &str,
    ) -> Result<(), UpError> {
        for (key, value) in tuning.into_iter().flatten() {
            let service = self.service;
            let (section, name) =
                key.rsplit_once('.').filter(|(section, name)| !section.is_empty() && !name.is_empty()).ok_or_else(
                    || UpError::invalid(format!("tuning: {service}: `{key}` is not of the form section.name")),
                )?;
            let found = self.options.get(&(section.to_owned(), name.to_owned()));
            if matches!(found, Some(Entry { set_by: SetBy::Harness, .. })) {
                return Err(UpError::invalid(format!(
                    "tuning: {service}: `{key}` is set by the harness, which could not run the cloud otherwise; remove it"
                )));
            }
            let multi = options::find(release, service, key).is_some_and(|facts| facts.kind == "multi");
            self.set(section, name, texts(key, value, multi)?, SetBy::Tuning);
        }
        Ok(())
    }

    fn set(&mut self, section: &str, name: &str, values: Vec<String>, set_by: SetBy) {
        self.options.insert((section.to_owned(), name.to_owned()), Entry { values, set_by });
    }

    /// Options that deviate from the defaults, as `section.name = value`, each with its reason.
    pub(crate) fn deviations(&self) -> impl Iterator<Item = (String, String)> {
        self.options.iter().filter_map(|((section, name), entry)| match entry.set_by {
            SetBy::Deviation(reason) => {
                Some((format!("{section}.{name} = {}", entry.values.join(",")), reason.to_owned()))
            }
            _ => None,
        })
    }

    /// The files' content.
    pub(crate) fn render(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::from([(self.file.clone(), String::new())]);
        let mut last = None;
        for ((section, name), entry) in &self.options {
            let file = match &self.second {
                Some((file, sections)) if sections.contains(section.as_str()) => file,
                _ => &self.file,
            };
            let text = files.entry(file.clone()).or_default();
            if last != Some(section) {
                writeln!(text, "[{section}]").expect("writing to a String cannot fail");
                last = Some(section);
            }
            for value in &entry.values {
                writeln!(text, "{name} = {value}").expect("writing to a String cannot fail");
            }
        }
        files
    }
}

/// A value as oslo.config reads it: one text, or for an option that may be given several times, one for each time.
fn texts(key: &str, value: &OptionValue, multi: bool) -> Result<Vec<String>, UpError> {
    let texts = match value {
        OptionValue::List(items) if multi => items.clone(),
        OptionValue::List(items) => vec![items.join(",")],
        other => vec![other.to_string()],
    };
    if texts.iter().any(|text| text.contains(['\n', '\r'])) {
        return Err(UpError::invalid(format!("tuning: the value of `{key}` has a line break")));
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned(key: &str, value: OptionValue) -> Result<Ini, UpError> {
        let mut ini = Ini::new("nova", "nova.conf").split("other.conf", &["ml2"]);
        ini.own("database", &[("connection", "mysql://")]);
        ini.deviate("scheduler", "discover_hosts_in_cells_interval", "5", "so that hosts are found");
        ini.tune(Some(&BTreeMap::from([(key.to_owned(), value)])), "2026.2")?;
        Ok(ini)
    }

    #[test]
    fn tuning_lands_under_its_section_in_its_file() {
        let ini = tuned("ml2.extension_drivers", OptionValue::List(vec!["a".into(), "b".into()])).unwrap();
        let files = ini.render();
        assert_eq!(files[&PathBuf::from("other.conf")], "[ml2]\nextension_drivers = a,b\n");
        assert!(files[&PathBuf::from("nova.conf")].starts_with("[database]\nconnection = mysql://\n"));
    }

    #[test]
    fn tuning_replaces_a_deviation_and_is_then_none() {
        let ini = tuned("scheduler.discover_hosts_in_cells_interval", OptionValue::Integer(60)).unwrap();
        assert_eq!(ini.deviations().count(), 0);
        assert!(ini.render()[&PathBuf::from("nova.conf")].contains("discover_hosts_in_cells_interval = 60\n"));
    }

    #[test]
    fn tuning_of_what_is_the_harness_s_own_or_malformed_is_refused() {
        let text = |value: &str| OptionValue::Text(value.into());
        let error = |key, value| tuned(key, value).unwrap_err().to_string();
        assert!(error("database.connection", text("x")).contains("set by the harness"));
        assert!(error("report_interval", text("x")).contains("section.name"));
        assert!(error("DEFAULT.x", text("1\n[database]")).contains("line break"));
    }
}
