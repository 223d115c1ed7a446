import CSystemd
import Diagnostics
import Glibc
import WireText

/// Tells systemd how the service stands (sd_notify(3)). Does nothing when the service was not started by systemd.
///
/// Any thread; one datagram each. A status is a sentence and holds nothing secret, as its type says.
package struct Notifier: Sendable {
    private let send: @Sendable (String) -> Void

    init(send: @escaping @Sendable (String) -> Void) { self.send = send }

    /// Over $NOTIFY_SOCKET. The result is of no use to anybody: a service works the same when nobody listens.
    package static let systemd = Notifier { _ = sd_notify(0, $0) }

    func ready(_ status: Loggable) { send("READY=1\n\(line(status))") }
    func status(_ status: Loggable) { send(line(status)) }
    func stopping(_ status: Loggable) { send("STOPPING=1\n\(line(status))") }
    /// With the time on CLOCK_MONOTONIC in microseconds, by which systemd (`Type=notify-reload`, from 253 on) tells this
    /// reload from an earlier one.
    func reloading(_ status: Loggable) {
        send("RELOADING=1\nMONOTONIC_USEC=\(KernelClock.nanoseconds(CLOCK_MONOTONIC) / 1000)\n\(line(status))")
    }
    func watchdog() { send("WATCHDOG=1") }

    /// Assignments are separated by line ends, so a status must have none.
    private func line(_ status: Loggable) -> String {
        let text = status.text.replacing("\n", with: " ")
        return "STATUS=\(text.utf8.count > 1024 ? String(text.prefix(512)) + "..." : text)"
    }

    /// Within which time systemd wants to hear from this process, or nil when it does not watch it.
    static var watchdogTimeout: Duration? {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return .microseconds(Int64(clamping: microseconds))
    }
}
