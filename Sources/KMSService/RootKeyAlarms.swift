import Diagnostics
import KeyStore
import MasterKey
import ServiceRuntime
import WireText

/// Which alarms of the root keys stand, judged from one look at them: no clock, no store.
///
/// Each node tells what it sees of the root keys; what the work on them shows (stalled, orphans) is told by the node that
/// does it, and by no other.
struct RootKeyAlarms {
    /// Without progress for so long a rotation is stalled.
    static let patience: Int64 = 600

    let journal: RotationJournal
    let records: [RootKeyRecord]
    /// Of the key-encryption key of this node.
    let kek: String
    /// Nil on a node that leaves the work to another one.
    let work: RootKeyKeeper.Work?
    let rotationDueDays: Int
    let now: Timestamp

    func tell(_ alarms: AlarmBoard) {
        tell(alarms, .rotationDue, due, "the active version is younger")
        tell(alarms, .rotationRunning, running, "no rotation is under way")
        tell(alarms, .rotationRunning, about: "master key", changingKEK, "one master key opens the root keys")
        tell(alarms, .rotationStalled, stalled, "nothing holds a rotation up")
        tell(alarms, .masterKeyOrphan, orphans, "every value has its root key")
    }

    private func tell(
        _ alarms: AlarmBoard, _ alarm: Alarm, about subject: Loggable = "", _ detail: Loggable?, _ well: Loggable
    ) {
        if let detail {
            alarms.raise(alarm, about: subject, detail)
        } else {
            alarms.clear(alarm, about: subject, well)
        }
    }

    var due: Loggable? {
        guard let active = records.first(where: { $0.state == .active }) else { return nil }
        let days = (now.milliseconds - active.created.milliseconds) / 86_400_000
        guard days >= Int64(rotationDueDays) else { return nil }
        return "version \(Loggable(Int(active.version))) is \(Loggable(Int(days))) days old"
    }

    var running: Loggable? {
        if let inert = records.first(where: { $0.state == .inert }) {
            return "version \(Loggable(Int(inert.version))) waits to be promoted"
        }
        guard let old = records.first(where: { $0.state == .retiring }) else { return nil }
        guard let progress = work?.progress else {
            return "version \(Loggable(Int(old.version))) is to be retired"
        }
        return Self.running(progress)
    }

    static func running(_ progress: Resealer.Progress) -> Loggable {
        "\(Loggable(progress.done)) of \(Loggable(progress.total)) values stand under the new version"
    }

    var changingKEK: Loggable? {
        // Keys of which each belongs to one node are no change.
        let common = Set(records.filter { $0.state != .destroyed }.flatMap(\.keks)).subtracting(journal.ownKEKs.values)
        let others = common.subtracting([kek]).sorted()
        guard common.count > 1, !others.isEmpty else { return nil }
        // Fingerprints, from the store: shown as what they are.
        let names = others.map { String($0.prefix(32)) }.joined(separator: ", ")
        return "beside \(reviewed: kek) also \(reviewed: names) opens the root keys"
    }

    var stalled: Loggable? {
        let isLate = { (time: Timestamp) in time.adding(seconds: Self.patience) < now }
        if let inert = records.first(where: { $0.state == .inert }), isLate(inert.created) {
            let missing = journal.live(at: now).filter { $0.value.proved < inert.version }.keys.sorted()
            if !missing.isEmpty {
                let names = missing.joined(separator: ", ")
                return "version \(Loggable(Int(inert.version))) is not proved by \(reviewed: names)"
            }
        }
        if let heldUp = work?.heldUp, let destruction = journal.destruction {
            return "version \(Loggable(Int(destruction.version))) is due to be destroyed and waits: \(Loggable(heldUp))"
        }
        guard let work, let old = records.first(where: { $0.state == .retiring }) else { return nil }
        if let broken = work.progress?.broken, broken > 0 {
            return
                "\(Loggable(broken)) values do not open and keep version \(Loggable(Int(old.version))) from retiring"
        }
        guard let moved = work.moved, isLate(moved) else { return nil }
        if let failure = work.failure { return Loggable(failure) }
        return "no value was sealed again since \(reviewed: moved.iso8601)"
    }

    var orphans: Loggable? {
        guard let orphans = work?.orphans, !orphans.isEmpty else { return nil }
        let texts = orphans.sorted { $0.key < $1.key }.map { "\($0.value) under version \($0.key)" }
        return "values without a root key: \(reviewed: texts.joined(separator: ", "))"
    }
}
