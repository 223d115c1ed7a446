import Diagnostics
package import ServiceRuntime
package import TLSChannel

/// What health says of the core's pins: the first one listed is the present one, the others are backups.
///
/// 1. Without a pin any certificate that leads to the configured authorities is taken.
/// 2. With a single one the link is cut off on the day on which the core changes its key.
/// 3. A core that shows a backup has changed its key: the old pin is of no use, and a new backup is due.
/// 4. Where TLS is inspected no pin is looked at.
package enum PinFinding {
    /// The standing warning about them.
    package static let warning = "core-pins"

    package static func of(_ pins: [SPKIPin], _ session: TLSSession?) -> HealthFinding {
        if let inspection = session?.inspection {
            return .warn(
                "no pin counts: TLS is inspected by \(reviewed: inspection.name)",
                fix: "let the device pass the link without inspection and remove core.inspection")
        }
        if let weakness = weakness(of: pins) { return .warn(weakness.text, fix: weakness.fix) }
        if let session, let first = pins.first, !session.matchedPins.contains(first),
            let backup = session.matchedPins.first
        {
            return .warn(
                "the core's present key is the backup \(reviewed: backup.text)",
                fix: "list it first in core.pins, remove the one that is of no use, and add a new backup")
        }
        return .ok("\(pins.count) pins, \(pins.count - 1) of them for the core's next key")
    }

    /// What can be said before there is a link.
    package static func weakness(of pins: [SPKIPin]) -> StandingWarning? {
        switch pins.count {
        case 0:
            StandingWarning(
                warning, "the core is not pinned: any certificate that leads to core.ca is taken",
                fix: "list the core's key and its next one in core.pins (docs/networks.md)")
        case 1:
            StandingWarning(
                warning, "the core has one pin and no backup: when it changes its key the link is cut off",
                fix: "ask the core's operator for the pin of the next key, and list it second in core.pins")
        default: nil
        }
    }
}
