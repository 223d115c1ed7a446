import Diagnostics
import Glibc
import ServiceRuntime

/// The machine below the service: its units and how exposed they are, the journal, releases.
struct DoctorMachine {
    private let unit: ServiceUnit
    private let root: String

    init(_ unit: ServiceUnit, _ root: String) { (self.unit, self.root) = (unit, root) }

    func checks() -> [DoctorCheck] { [journal] + units }

    /// Whether records reach it.
    private var journal: DoctorCheck {
        let path = root + "/run/systemd/journal/socket"
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        defer { if descriptor >= 0 { close(descriptor) } }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let octets = Array(path.utf8)
        guard octets.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return DoctorCheck("journal", .warn, "\(path) is too long a path", fix: "choose a shorter folder")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: octets) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return status == 0
            ? DoctorCheck("journal", .pass, "systemd-journald takes records")
            : DoctorCheck(
                "journal", .warn, "systemd-journald does not listen: \(String(cString: strerror(errno)))",
                fix: "systemctl status systemd-journald; without it the services write to standard error")
    }

    /// Hardening as the unit files say it: the goal is an exposure of 1.2 or lower.
    private var units: [DoctorCheck] {
        guard unit.isInstalled else {
            return [
                DoctorCheck(
                    "unit hds-kms", .warn, "there is no \(unit.unit) on this machine", fix: "install hds-appliance")
            ]
        }
        return ["hds-kms", "hds-auth"].compactMap { name in
            guard ServiceUnit(unit: "\(name).service", root: root).isInstalled else { return nil }
            let arguments =
                ["security", "--offline=true", "--threshold=12", "--no-pager"]
                + (root.isEmpty ? [] : ["--root=\(root)"])
            guard let ending = OtherProgram.run("/usr/bin/systemd-analyze", arguments + ["\(name).service"]) else {
                return DoctorCheck(
                    "unit \(name)", .warn, "its hardening was not looked at: there is no systemd-analyze",
                    fix: "install systemd")
            }
            // The last line, such as: → Overall exposure level for hds-kms.service: 1.1 OK
            let seen = ending.lastLine.drop { !$0.isLetter }
            return ending.code == 0
                ? DoctorCheck("unit \(name)", .pass, String(seen))
                : DoctorCheck(
                    "unit \(name)", .warn, String(seen),
                    fix: "systemctl cat \(name), and take back what a drop-in opens; systemd-analyze security \(name)")
        }
    }
}
