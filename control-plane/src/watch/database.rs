//! MariaDB, by its own counters.

use std::{collections::BTreeMap, time::Duration};

use mysql_async::{
    Conn, OptsBuilder,
    prelude::{FromRow, Queryable},
};

use super::{Sampler, Scribe};
use crate::Database;

/// Variables of `SHOW GLOBAL STATUS` and the metric that each becomes.
const VARIABLES: [(&str, &str); 4] = [
    ("Threads_connected", "database.connections"),
    ("Threads_running", "database.threads_running"),
    ("Questions", "database.queries_total"),
    ("Innodb_row_lock_waits", "database.lock_waits_total"),
];

/// Counters of the server by name (`SHOW GLOBAL STATUS`), as they are at this moment.
///
/// # Errors
/// When the server cannot be asked.
pub async fn global_status(database: &Database, names: &[&str]) -> Result<BTreeMap<String, f64>, String> {
    let ask = async || {
        let mut connection = Conn::new(options(database)).await?;
        let rows: Vec<(String, String)> = connection.query(query(names)).await?;
        connection.disconnect().await?;
        Ok(rows)
    };
    let rows = ask().await.map_err(|error: mysql_async::Error| error.to_string())?;
    Ok(rows.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect())
}

fn options(database: &Database) -> OptsBuilder {
    OptsBuilder::default()
        .socket(Some(database.socket.display().to_string()))
        .user(Some(&database.user))
        .pass(Some(database.password.reveal()))
}

/// One connection that is kept.
pub(crate) struct Link {
    options: OptsBuilder,
    connection: Option<Conn>,
}

impl Link {
    pub(crate) fn new(database: &Database) -> Self {
        Self { options: options(database), connection: None }
    }

    /// Asks once. After an error the next one connects anew.
    pub(crate) async fn rows<T: FromRow + Send + 'static>(&mut self, query: &str) -> Result<Vec<T>, String> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Conn::new(self.options.clone()).await.map_err(|error| error.to_string())?,
        };
        let rows = connection.query(query).await.map_err(|error| error.to_string())?;
        self.connection = Some(connection);
        Ok(rows)
    }
}

/// The database server.
pub(super) struct Server(pub(super) Link);

impl Sampler for Server {
    const WHAT: &'static str = "MariaDB";
    const EVERY: Duration = Duration::from_secs(2);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        let rows: Vec<(String, String)> = self.0.rows(&query(&VARIABLES.map(|(name, _)| name))).await?;
        for (metric, value) in values(&rows) {
            scribe.sample(metric, "", value);
        }
        Ok(())
    }
}

fn query(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("SHOW GLOBAL STATUS WHERE Variable_name IN ({})", names.join(", "))
}

fn values(rows: &[(String, String)]) -> Vec<(&'static str, f64)> {
    let metric = |name: &str| VARIABLES.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name));
    rows.iter().filter_map(|(name, value)| Some((metric(name)?.1, value.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_metrics() {
        let rows = [("Threads_connected".to_owned(), "31".to_owned()), ("Uptime".to_owned(), "9".to_owned())];
        assert_eq!(values(&rows), [("database.connections", 31.0)]);
    }
}
