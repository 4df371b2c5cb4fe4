//! What the negotiator reports, as a code and a sentence of ours.

use std::time::Duration;

use ike::certificate::CertificateProblem;
use ike::{Failure, Notice, Stage};

use crate::catalog::Code;

/// A failure, a code, and what to tell people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The code.
    pub code: Code,
    /// What happened, with the peer's notify by its RFC name.
    pub text: String,
}

/// The code and the text of a failure.
pub fn finding(failure: &Failure) -> Finding {
    Finding { code: code(failure), text: failure.to_string() }
}

fn code(failure: &Failure) -> Code {
    match failure {
        Failure::AuthenticationFailed { .. } => Code::IkeAuthFailed,
        Failure::NoProposalChosen { stage: Stage::SaInit | Stage::IkeRekey, .. }
        | Failure::InvalidKe { stage: Stage::SaInit | Stage::IkeRekey, .. }
        | Failure::Unusable(_) => Code::IkeNoProposal,
        // IKE_AUTH carries the first child's proposals (RFC 7296 §1.2).
        Failure::NoProposalChosen { .. } | Failure::InvalidKe { .. } => Code::IpsecNoProposal,
        Failure::TsUnacceptable { .. } => Code::IpsecTsUnacceptable,
        Failure::NoAnswer { stage: Stage::SaInit } => Code::IkeNoAnswer,
        Failure::NoAnswer { stage: Stage::Auth | Stage::Intermediate } => Code::IkeAuthNoAnswer,
        Failure::NoAnswer { .. } => Code::IkeLivenessLost,
        Failure::UnsupportedVersion => Code::IkeVersion,
        Failure::PeerIdentityMismatch { .. } => Code::IkeIdMismatch,
        Failure::CertificateRefused => Code::IkeCertRefused,
        Failure::Certificate(problem) => certificate(problem),
        Failure::Ppk(_) => Code::IkePpkMismatch,
        Failure::UnsupportedCritical(_) | Failure::ProtocolViolation { .. } | Failure::NegotiationLoop => {
            Code::IkeProtocol
        }
        Failure::PeerNotify(kind) if is_child_error(*kind) => Code::IpsecFailed,
        Failure::PeerNotify(_) => Code::IkePeerError,
    }
}

fn certificate(problem: &CertificateProblem) -> Code {
    match problem {
        CertificateProblem::Expired { .. } => Code::IkeCertExpired,
        CertificateProblem::NotYetValid { .. } => Code::IkeCertNotYetValid,
        CertificateProblem::Revoked { .. }
        | CertificateProblem::RevocationUnknown { .. }
        | CertificateProblem::BadRevocationList { .. } => Code::IkeCertRevoked,
        CertificateProblem::Untrusted { .. } | CertificateProblem::BadSignature { .. } => {
            Code::IkeCertUntrusted
        }
        CertificateProblem::WrongName { .. } => Code::IkeCertName,
        CertificateProblem::CriticalExtension { .. } => Code::IkeCertExtension,
        CertificateProblem::Weak { .. }
        | CertificateProblem::Algorithm { .. }
        | CertificateProblem::NoCommonHash => Code::IkeCertWeak,
        CertificateProblem::Missing
        | CertificateProblem::HashAndUrl
        | CertificateProblem::TooMany
        | CertificateProblem::Malformed { .. }
        | CertificateProblem::Usage { .. }
        | CertificateProblem::WrongKey { .. }
        | CertificateProblem::Method(_)
        | CertificateProblem::Signing => Code::IkeCertInvalid,
    }
}

/// Errors that concern the child SA alone (RFC 7296 §2.21.2).
fn is_child_error(kind: ike::wire::NotifyType) -> bool {
    use ike::wire::NotifyType;
    [
        NotifyType::SINGLE_PAIR_REQUIRED,
        NotifyType::NO_ADDITIONAL_SAS,
        NotifyType::INTERNAL_ADDRESS_FAILURE,
        NotifyType::FAILED_CP_REQUIRED,
    ]
    .contains(&kind)
}

/// An event that a notice is worth, with its duration; `None` for what belongs into the log only.
pub fn event(notice: &Notice) -> Option<(Finding, Option<Duration>)> {
    let event = |code, text: String| Some((Finding { code, text }, None));
    match notice {
        Notice::IkeEstablished { role, proposal, ppk, took, .. } => {
            let ppk = if *ppk { " with PPK" } else { "" };
            let text = format!("IKE SA established as {}, {proposal}{ppk}", role.name());
            Some((Finding { code: Code::IkeUp, text }, Some(*took)))
        }
        Notice::ChildEstablished { spi_in, spi_out, proposal, .. } => {
            event(Code::IpsecUp, format!("child SA established, {proposal}, SPI in {spi_in} out {spi_out}"))
        }
        Notice::IkeRekeyed { by_us, proposal, .. } => {
            event(Code::IkeRekeyed, format!("IKE SA rekeyed by {}, {proposal}", side(*by_us)))
        }
        Notice::ChildRekeyed { by_us, spi_in, spi_out, proposal, .. } => event(
            Code::IpsecRekeyed,
            format!("child SA rekeyed by {}, {proposal}, SPI in {spi_in} out {spi_out}", side(*by_us)),
        ),
        Notice::PeerDeletedIke => {
            event(Code::PeerDeleted, "AWS deleted the IKE SA (DELETE received)".to_owned())
        }
        Notice::PeerDeletedChild { .. } => {
            event(Code::PeerDeleted, "AWS deleted the child SA (DELETE received)".to_owned())
        }
        Notice::PeerUnreachable { stage } => event(
            Code::IkeLivenessLost,
            format!("AWS does not answer {} any more, although it was repeated", stage.exchange()),
        ),
        Notice::Failed(failure) => Some((finding(failure), None)),
        _ => None,
    }
}

fn side(by_us: bool) -> &'static str {
    if by_us { "us" } else { "AWS" }
}

#[cfg(test)]
mod tests {
    use ike::wire::{DhGroup, NotifyType};

    use super::*;

    #[test]
    fn each_way_to_fail_has_the_code_that_the_manual_promises() {
        let cases = [
            (Failure::NoAnswer { stage: Stage::SaInit }, "IKE-NO-ANSWER"),
            (Failure::NoAnswer { stage: Stage::Auth }, "IKE-AUTH-NO-ANSWER"),
            (Failure::AuthenticationFailed { by_peer: true }, "IKE-AUTH-FAILED"),
            (
                Failure::NoProposalChosen {
                    stage: Stage::SaInit,
                    offered: "AES_GCM_16_256".to_owned(),
                    by_peer: true,
                },
                "IKE-NO-PROPOSAL",
            ),
            (
                Failure::NoProposalChosen { stage: Stage::Auth, offered: String::new(), by_peer: true },
                "IPSEC-NO-PROPOSAL",
            ),
            (
                Failure::NoProposalChosen { stage: Stage::Child, offered: String::new(), by_peer: true },
                "IPSEC-NO-PROPOSAL",
            ),
            (Failure::InvalidKe { stage: Stage::SaInit, wanted: DhGroup(2) }, "IKE-NO-PROPOSAL"),
            (Failure::TsUnacceptable { offered: String::new(), by_peer: true }, "IPSEC-TS-UNACCEPTABLE"),
            (Failure::CertificateRefused, "IKE-CERT-REFUSED"),
            (ike::PpkProblem::NotSupported { id: String::new() }.into(), "IKE-PPK-MISMATCH"),
            (ike::PpkProblem::Unverified { id: String::new(), by_peer: true }.into(), "IKE-PPK-MISMATCH"),
            (CertificateProblem::Expired { subject: String::new(), not_after: 0 }.into(), "IKE-CERT-EXPIRED"),
            (CertificateProblem::Revoked { subject: String::new() }.into(), "IKE-CERT-REVOKED"),
            (CertificateProblem::Untrusted { subject: String::new() }.into(), "IKE-CERT-UNTRUSTED"),
            (CertificateProblem::CriticalExtension { subject: String::new() }.into(), "IKE-CERT-EXTENSION"),
            (
                CertificateProblem::Weak { subject: String::new(), what: String::new() }.into(),
                "IKE-CERT-WEAK",
            ),
            (CertificateProblem::HashAndUrl.into(), "IKE-CERT-INVALID"),
            (Failure::UnsupportedVersion, "IKE-VERSION"),
            (Failure::PeerNotify(NotifyType::SINGLE_PAIR_REQUIRED), "IPSEC-FAILED"),
            (Failure::PeerNotify(NotifyType(12_345)), "IKE-PEER-ERROR"),
        ];
        for (failure, code) in cases {
            assert_eq!(finding(&failure).code.name(), code, "{failure:?}");
        }
    }

    #[test]
    fn the_text_names_the_peers_notify() {
        for (failure, name) in [
            (Failure::AuthenticationFailed { by_peer: true }, "AUTHENTICATION_FAILED"),
            (Failure::TsUnacceptable { offered: String::new(), by_peer: true }, "TS_UNACCEPTABLE"),
            (
                Failure::NoProposalChosen { stage: Stage::SaInit, offered: String::new(), by_peer: true },
                "NO_PROPOSAL_CHOSEN",
            ),
        ] {
            assert!(finding(&failure).text.contains(name), "{failure:?}");
        }
    }
}
