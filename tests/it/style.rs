//! Habits that a formatter does not keep.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Longest function, in lines from `fn` to its closing brace. May only go down.
const LONGEST_FUNCTION_LINES: usize = 70;
/// Longest file. May only go down.
const LONGEST_FILE_LINES: usize = 500;

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the checkout").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "runs" {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 50, "the walk found the sources");
    found
}

/// First lines and lengths of the functions of a file. The code is formatted, so a function ends at the first closing
/// brace that stands as far in as it began.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let before = code.split("fn ").next().unwrap_or_default();
        let is_function = code.contains("fn ")
            && before.split_whitespace().all(|w| w.starts_with("pub") || ["async", "const", "in"].contains(&w));
        if !is_function || line.ends_with([';', '}']) {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        if let Some(length) = lines[start..].iter().position(|line| *line == end) {
            found.push((start + 1, length + 1));
        }
    }
    found
}

#[test]
fn functions_are_short() {
    for path in sources() {
        let text = fs::read_to_string(&path).expect("a source file");
        for (line, length) in functions(&text) {
            let place = path.display();
            assert!(length <= LONGEST_FUNCTION_LINES, "{place}:{line}: a function of {length} lines");
        }
    }
}

#[test]
fn files_are_not_books() {
    for path in sources() {
        let lines = fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(lines <= LONGEST_FILE_LINES, "{}: {lines} lines", path.display());
    }
}

#[test]
fn the_measure_of_functions_measures() {
    let text = "impl A {\n    pub(crate) async fn one(\n        a: u8,\n    ) {\n        b();\n    }\n}\nfn two() {}\nfn three() {\n}\n";
    assert_eq!(functions(text), [(2, 5), (9, 2)]);
}
