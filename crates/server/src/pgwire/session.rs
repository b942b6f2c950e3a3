//! What one connection holds between its messages: settings, the transaction, prepared statements, portals.
//!
//! A transaction here is only what clients expect to see of one: nothing is ever rolled back, and each query reads one step of the
//! views. Portals live as long as it, so that rows can be fetched in parts.

use pgwire::messages::response::TransactionStatus;
use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Result, SqlError};
use super::settings::Settings;
use super::statement::{Portal, Prepared};

/// Statements that a session may keep prepared, and the bytes of their texts.
const STATEMENTS_MAX: usize = 10_000;
const STATEMENT_BYTES_MAX: usize = 32 << 20;
/// Portals that a session may keep open.
const PORTALS_MAX: usize = 200;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub user: String,
    pub settings: Settings,
    pub transaction: TransactionStatus,
    statements: HashMap<String, Arc<Prepared>>,
    statement_bytes: usize,
    portals: HashMap<String, Portal>,
    /// What RESET and DISCARD go back to: what the client asked for at its start.
    initial: Settings,
}

impl Session {
    pub(crate) fn new(user: String) -> Self {
        Self {
            user,
            settings: Settings::default(),
            transaction: TransactionStatus::Idle,
            statements: HashMap::new(),
            statement_bytes: 0,
            portals: HashMap::new(),
            initial: Settings::default(),
        }
    }

    /// The settings are now those that the client starts with.
    pub(crate) fn starts_with(&mut self) {
        self.initial = self.settings.clone();
    }

    /// Sets a setting, `None`: as it was at the start. Gives what the client must be told.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: Option<&str>,
    ) -> Result<Option<(&'static str, String)>> {
        let initial = self.initial.get(name);
        self.settings.set(name, value.or(initial.as_deref()))
    }

    /// All settings as at the start. Gives what the client must be told.
    pub(crate) fn reset_all(&mut self) -> Vec<(&'static str, String)> {
        let mut told = self.settings.reset_all();
        self.settings = self.initial.clone();
        told.iter_mut()
            .for_each(|(name, value)| *value = self.settings.get(name).unwrap_or_default());
        told
    }

    /// A prepared statement.
    pub(crate) fn statement(&self, name: &str) -> Result<Arc<Prepared>> {
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| {
            SqlError::new(
                "26000",
                format!("prepared statement \"{name}\" does not exist"),
            )
        })
    }

    /// Keeps a statement. The unnamed one is replaced, others are not.
    pub(crate) fn keep_statement(&mut self, name: String, prepared: Prepared) -> Result<()> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(SqlError::new(
                "42P05",
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        self.forget_statement(&name);
        let bytes = prepared.text.len();
        if self.statements.len() >= STATEMENTS_MAX
            || self.statement_bytes + bytes > STATEMENT_BYTES_MAX
        {
            return Err(
                SqlError::new("53400", "the session keeps too many prepared statements")
                    .hint("close those that are not needed any more: DEALLOCATE"),
            );
        }
        self.statement_bytes += bytes;
        self.statements.insert(name, Arc::new(prepared));
        Ok(())
    }

    /// Forgets a statement. Gives whether there was one.
    pub(crate) fn forget_statement(&mut self, name: &str) -> bool {
        let gone = self.statements.remove(name);
        self.statement_bytes -= gone.as_ref().map_or(0, |gone| gone.text.len());
        gone.is_some()
    }

    /// Forgets all statements.
    pub(crate) fn forget_statements(&mut self) {
        self.statements.clear();
        self.statement_bytes = 0;
    }

    /// A portal, taken out while it runs.
    pub(crate) fn take_portal(&mut self, name: &str) -> Result<Portal> {
        self.portals.remove(name).ok_or_else(|| no_portal(name))
    }

    /// A portal.
    pub(crate) fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| no_portal(name))
    }

    /// Keeps a portal. The unnamed one is replaced, others are not.
    pub(crate) fn keep_portal(&mut self, name: String, portal: Portal) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(SqlError::new(
                "42P03",
                format!("cursor \"{name}\" already exists"),
            ));
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(
                SqlError::new("53400", "the session keeps too many portals open")
                    .hint("close those that have been read"),
            );
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    /// Closes a portal. Gives whether there was one.
    pub(crate) fn close_portal(&mut self, name: &str) -> bool {
        self.portals.remove(name).is_some()
    }

    /// Closes all portals.
    pub(crate) fn close_portals(&mut self) {
        self.portals.clear();
    }

    /// Whether rows of an earlier step are held for this session.
    pub(crate) fn holds_rows(&self) -> bool {
        !self.portals.is_empty()
    }

    /// The state after a statement that failed.
    pub(crate) fn failed(&mut self) {
        if self.transaction == TransactionStatus::Transaction {
            self.transaction = TransactionStatus::Error;
        }
        if self.transaction != TransactionStatus::Idle {
            self.close_portals();
        }
    }

    /// The end of a message or series of messages: portals do not outlive their transaction.
    pub(crate) fn settled(&mut self) {
        if self.transaction == TransactionStatus::Idle {
            self.close_portals();
        }
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new("34000", format!("portal \"{name}\" does not exist"))
}
