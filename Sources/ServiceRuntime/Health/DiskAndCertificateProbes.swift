package import Diagnostics
import Glibc
package import WireText

/// How much room a file system has left for the service's user.
package enum FreeSpace: Sendable {
    case bytes(Int64)
    case unknown(Loggable)

    /// What the kernel says of the file system that holds `folder`.
    package static func of(_ folder: FileLocation) -> FreeSpace {
        var status = statvfs()
        guard statvfs(folder.path, &status) == 0 else {
            return .unknown(Loggable(reviewed: String(cString: strerror(errno))))
        }
        let (bytes, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
        return .bytes(overflow ? .max : Int64(clamping: bytes))
    }
}

// Probes that more than one service needs, each with its alarm.
extension HealthRegistry {
    /// The check `disk`: the space left where the service writes. Below `warning` it raises HDS-DISK-LOW, below
    /// `failure` it fails: a database needs room even to delete.
    package func watchSpace(
        of folder: FileLocation, check: HealthCheck = HealthCheck("disk", "the disk"),
        warning: ByteCount = ByteCount(bytes: 1 << 30),
        failure: ByteCount = ByteCount(bytes: 64 << 20), every interval: Duration = .seconds(30),
        measure: @escaping @Sendable (FileLocation) -> FreeSpace = { FreeSpace.of($0) }
    ) {
        let alarms = alarms
        let place = Loggable(reviewed: folder.path)
        probe(check, every: interval) {
            switch measure(folder) {
            case .unknown(let reason):
                return .warn(
                    "the space left for \(place) is not known: \(reason)", fix: "check that the folder exists")
            case .bytes(let bytes):
                // In steps, so that a report changes only when there is something to see.
                let left: Loggable = bytes >= 1 << 30 ? "\(bytes >> 30) GiB" : "\(bytes >> 20 & ~15) MiB"
                guard bytes < warning.bytes else {
                    alarms.clear(.diskLow, about: place, "\(left) left for \(place)")
                    return .ok("\(left) left for \(place)")
                }
                let isFailing = bytes < failure.bytes
                alarms.raise(.diskLow, about: place, stage: isFailing ? 2 : 1, "\(left) left for \(place)")
                let fix = Loggable(reviewed: Alarm.diskLow.fix)
                return isFailing
                    ? .fail("only \(left) left for \(place)", fix: fix) : .warn("\(left) left for \(place)", fix: fix)
            }
        }
    }

    /// The end of a certificate: HDS-CERT-EXPIRY at 30, 14, 7 and 1 days, and a failing check once it has passed.
    ///
    /// `title` stands in the alarm as its subject; `fix` says how this certificate is replaced.
    package func watchCertificate(
        _ id: String, _ title: String, fix: Loggable, every interval: Duration = .seconds(600),
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, expires: @escaping @Sendable () -> Timestamp
    ) {
        let alarms = alarms
        let subject = Loggable(reviewed: title)
        probe(HealthCheck(id, title), every: interval) {
            let end = expires()
            let seconds = end.seconds - now().seconds
            let moment = Loggable(reviewed: end.iso8601)
            // Up to a whole day more than the stage says: with 30 days and 5 hours left it is 30 days.
            let stage = [0, 1, 7, 14, 30].first { seconds < (Int64($0) + ($0 == 0 ? 0 : 1)) * 86_400 }
            switch stage {
            case nil:
                alarms.clear(.certificateExpiry, about: subject, "\(subject) is valid until \(moment)")
                return .ok("valid until \(moment)")
            case 0:
                alarms.raise(.certificateExpiry, about: subject, stage: 0, "\(subject) expired at \(moment)")
                return .fail("expired at \(moment)", fix: fix)
            case let stage?:
                alarms.raise(
                    .certificateExpiry, about: subject, stage: stage,
                    "\(subject) ends at \(moment), in \(seconds / 86_400) days")
                return .warn("ends at \(moment)", fix: fix)
            }
        }
    }

    /// The age of a secret: HDS-CRED-AGE when its file is older than `days`. `changed`: seconds since 1970, nil where that is not known.
    package func watchAge(
        ofSecret title: Loggable, days: Int, every interval: Duration = .seconds(3600),
        now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, changed: @escaping @Sendable () -> Int64?
    ) {
        let alarms = alarms
        probe(HealthCheck("credential-age", "the age of credentials"), every: interval) {
            guard let changed = changed() else { return .ok("the age of \(title) is not known here") }
            let age = (now().seconds - changed) / 86_400
            let detail: Loggable = "\(title) is \(max(0, age)) days old"
            guard age >= Int64(days) else {
                alarms.clear(.credentialAge, about: title, detail)
                return .ok(detail)
            }
            alarms.raise(.credentialAge, about: title, detail)
            return .warn(detail, fix: Loggable(reviewed: Alarm.credentialAge.fix))
        }
    }
}
