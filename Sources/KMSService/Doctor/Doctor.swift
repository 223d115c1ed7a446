import ControlSocket
import Diagnostics
import Glibc
import LinkedService
import ServiceRuntime
import SiteFailover
package import WireText

/// Looks at everything that a KMS needs, from its configuration alone or beside the running service; changes nothing.
///
/// Rules:
/// 1. What the service checks itself is looked at by the same code: certificates, disks, ways out, pins, failover.
/// 2. Every check ends: nothing waits longer than a connection of the service would.
/// 3. A check that can not be made says why; it never counts as passed because nobody looked.
/// 4. Secrets are opened where this user may, and are never told of.
package struct Doctor: Sendable {
    /// What it looks at, and as whom.
    package struct Place: Sendable {
        /// The configuration of hds-kms.
        package var configuration: String
        /// The folder that is `/`; empty for this machine.
        package var root: String
        /// Instead of the control socket of the configuration.
        package var socket: String?

        package init(configuration: String = "/etc/hds/hds-kms.yaml", root: String = "", socket: String? = nil) {
            (self.configuration, self.root, self.socket) = (configuration, root, socket)
        }
    }

    /// Nothing of what the checks meet becomes a record.
    struct Silence: EventRecorder {
        func isRecorded(_ severity: Severity) -> Bool { false }
        func write(_ event: Event, _ fields: LogFields) {}
    }

    private let place: Place
    private let unit: ServiceUnit
    private let credentials: Credentials

    package init(_ place: Place) {
        self.place = place
        unit = ServiceUnit(unit: "hds-kms.service", root: place.root)
        credentials = Credentials.ofAdministrator(unit)
    }

    package func examine(now: Timestamp = .now()) async -> DoctorReport {
        var checks = [configurationFile()]
        let configuration: KMSServiceConfiguration
        do {
            configuration = try ConfigurationFile.read(place.configuration)
        } catch {
            checks[0] =
                access(place.configuration, F_OK) == 0
                ? Self.refused(error)
                : DoctorCheck(
                    "configuration", .fail, "there is no \(place.configuration) yet", fix: "hdsctl setup makes it")
            return DoctorReport(time: now, node: nil, checks: checks + DoctorMachine(unit, place.root).checks())
        }
        let health = HealthRegistry(events: Silence(), metrics: MetricRegistry())
        let service = DoctorService.look(place.socket ?? configuration.control.socket.path)
        checks += DoctorSecrets(configuration, unit, credentials).checks()
        checks += await DoctorFiles(configuration, unit, credentials, health).checks(now: now)
        checks += await DoctorNetwork(configuration, credentials, health).checks(now: now)
        checks += DoctorDatabase(configuration, credentials).checks()
        checks += DoctorMachine(unit, place.root).checks()
        checks += service.checks(configuration, now: now)
        return DoctorReport(time: now, node: configuration.node, checks: checks)
    }

    /// Where the report lies that hds-kms watches.
    package static func reportFile(of configuration: KMSServiceConfiguration) -> String {
        configuration.dataFolder + "/doctor.json"
    }

    /// Who may write it decides what the service believes.
    private func configurationFile() -> DoctorCheck {
        var status = stat()
        guard stat(place.configuration, &status) == 0, status.st_mode & 0o022 != 0 else {
            return DoctorCheck("configuration", .pass, "\(place.configuration) is understood")
        }
        return DoctorCheck(
            "configuration", .fail, "\(place.configuration) can be changed by others than its owner",
            fix: "chmod go-w \(place.configuration), and read it through")
    }

    private static func refused(_ error: ConfigurationError) -> DoctorCheck {
        let lines = error.problems.map { problem in
            var text = problem.line.map { "line \($0): " } ?? ""
            if !problem.path.isEmpty { text += "\(problem.path): " }
            text += problem.summary
            if let found = problem.found { text += " (found \(found))" }
            return text
        }
        let fixes = error.problems.compactMap { $0.hint ?? $0.expected.map { "expected \($0)" } }
        return DoctorCheck(
            "configuration", .fail, "\(error.file): \(lines.joined(separator: "; "))",
            fix: fixes.isEmpty ? "correct the named lines" : fixes.joined(separator: "; "))
    }
}
