//! What was decided on the user's behalf: a few sentences for standard error, once for all connections alike.

use super::draft::Draft;
use super::plan::{Plan, PlanRouting};

/// About the input itself.
pub(super) fn about_drafts(drafts: &[Draft], notes: &mut Vec<String>) {
    // "IKEv1" in a download is the default of the download dialogue, not a property of the connection.
    if drafts.iter().flat_map(|draft| &draft.tunnels).any(|tunnel| tunnel.says_ikev1) {
        let note = "The download is worded for IKEv1, the default of AWS's dialogue. cgwd speaks IKEv2 only, which \
                    tunnels allow too unless their options were narrowed.";
        notes.push(note.to_owned());
    }
}

/// About the file that is written.
pub(super) fn about_plans(plans: &[Plan], notes: &mut Vec<String>) {
    weak(plans, notes);
    let those = |test: &dyn Fn(&Plan) -> bool| -> Option<String> {
        let ids: Vec<&str> = plans.iter().filter(|plan| test(plan)).map(|plan| plan.id.as_str()).collect();
        (!ids.is_empty()).then(|| and(&ids))
    };
    if let Some(ids) = those(&|plan| plan.tunnels.iter().any(|t| !t.known)) {
        notes.push(format!(
            "Algorithms of {ids}: AWS prints its minimum there (AES128, SHA1, group 2), which is not used. The file \
             asks for AES256-GCM-16, SHA2-384 and groups 20, 19 and 14; AWS allows them unless the tunnel options \
             were narrowed. The output of `aws ec2 describe-vpn-connections` has the real lists: import that to \
             follow them."
        ));
    }
    if let Some(ids) = those(&|plan| matches!(plan.routing, PlanRouting::Bgp { .. }) && plan.vpc.is_empty()) {
        notes.push(format!(
            "No --vpc was given for {ids}: every prefix that AWS announces is taken, except a default route."
        ));
    }
    if let Some(ids) = those(&|plan| plan.tunnels.iter().any(|t| t.inside.is_empty())) {
        notes.push(format!(
            "The input names no inside addresses for {ids}, so the tunnels cannot be probed and a dead one is noticed \
             after tens of seconds only. The Generic download (same button at AWS) has them."
        ));
    }
    if let Some(ids) = those(&|plan| plan.raw_esp) {
        notes.push(format!(
            "{ids}: IP protocol 50 is used where no NAT is found. Every firewall on the way must pass it, both ways."
        ));
    }
}

/// Loud, because nothing else about the tunnel will look wrong.
fn weak(plans: &[Plan], notes: &mut Vec<String>) {
    for plan in plans {
        let mut names: Vec<&str> = Vec::new();
        let mut algorithms: Vec<&str> = Vec::new();
        for tunnel in &plan.tunnels {
            let weak = tunnel.choice.ike.weak.iter().chain(&tunnel.choice.esp.weak);
            for algorithm in weak {
                if !names.contains(&tunnel.name.as_str()) {
                    names.push(&tunnel.name);
                }
                if !algorithms.contains(&algorithm.as_str()) {
                    algorithms.push(algorithm);
                }
            }
        }
        if names.is_empty() {
            continue;
        }
        notes.push(format!(
            "WEAK: {} of {} can only use {}, because the tunnel options at AWS allow nothing better. Allow \
             AES256-GCM-16, SHA2-384 and group 20 there (`aws ec2 modify-vpn-tunnel-options`, one tunnel at a time; \
             it interrupts that tunnel for some minutes) and import again.",
            and(&names),
            plan.id,
            and(&algorithms)
        ));
    }
}

/// `a, b and c`
pub(super) fn and(items: &[&str]) -> String {
    match items.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}
