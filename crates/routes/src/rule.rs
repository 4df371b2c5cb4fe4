//! Policy routing rules, for those who want our routes in a table of their own.
//!
//! Same manners as for routes: only rules with our protocol number, new before old.

use ipnet::IpNet;

/// A policy rule (`ip rule`): packets that match look into `table`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Order of evaluation, lower first. Below 32766, where the main table is asked.
    pub priority: u32,
    /// Source prefix, any when `None`.
    pub from: Option<IpNet>,
    /// Destination prefix, any when `None`.
    pub to: Option<IpNet>,
    /// Arrived on this interface, any when `None`.
    pub input_interface: Option<String>,
    /// IPv6 rule instead of IPv4. Must agree with the family of `from` and `to`.
    pub ipv6: bool,
    /// The table to look into.
    pub table: u32,
    /// Who made it: [`crate::PROTOCOL`] for ours.
    pub protocol: u8,
}

/// One step for the shell, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleChange {
    /// Make this rule.
    Add(Rule),
    /// Remove this rule, which is ours.
    Delete(Rule),
}

/// The changes that make the kernel's rules of ours equal to `desired`; `observed` holds everybody's.
pub fn plan_rules(desired: &[Rule], observed: &[Rule]) -> Vec<RuleChange> {
    let ours = |rule: &&Rule| rule.protocol == crate::PROTOCOL;
    let adds = desired.iter().filter(ours).filter(|rule| !observed.contains(rule));
    let deletes = observed.iter().filter(ours).filter(|rule| !desired.contains(rule));
    adds.cloned().map(RuleChange::Add).chain(deletes.cloned().map(RuleChange::Delete)).collect()
}
