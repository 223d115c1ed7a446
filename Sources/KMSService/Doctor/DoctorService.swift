import ControlSocket
import Diagnostics
import Glibc
import LinkedService
import ServiceRuntime
import WireText

/// What the running service says of itself over its control socket, where it runs.
struct DoctorService {
    private enum Seen {
        case answer(JSONNode, version: String)
        case silent(DiagnosedError)
    }

    private let seen: Seen

    static func look(_ socket: String) -> DoctorService {
        do throws(DiagnosedError) {
            let client = try ControlClient(path: socket, timeout: 10_000)
            let version = try client.ping().version
            return DoctorService(
                seen: .answer(try client.send("status", arguments: try JSONDocument(text: "{}").root), version: version)
            )
        } catch {
            return DoctorService(seen: .silent(error))
        }
    }

    func checks(_ configuration: KMSServiceConfiguration, now: Timestamp) -> [DoctorCheck] {
        switch seen {
        case .silent(let error):
            return [DoctorCheck("service", .warn, error)]
        case .answer(let status, let version):
            return [service(status), release(version, status)] + standing(status)
                + [escrow(status), drill(status)].compactMap { $0 }
        }
    }

    private func service(_ status: JSONNode) -> DoctorCheck {
        let sentence = status["sentence"]?.string ?? "no sentence"
        return status["ready"]?.boolean == true
            ? DoctorCheck("service", .pass, sentence)
            : DoctorCheck("service", .fail, sentence, fix: "hdsctl status; journalctl -u hds-kms -n 50")
    }

    private func release(_ version: String, _ status: JSONNode) -> DoctorCheck {
        version == Release.version
            ? DoctorCheck("versions", .pass, "service and tool are of release \(version)")
            : DoctorCheck(
                "versions", .warn, "the service that runs is of release \(version), this tool of \(Release.version)",
                fix: "systemctl restart hds-kms, or use the tool of the release that runs")
    }

    /// Alarms are told by the service: here they are a reminder. What this very report raised is left out.
    private func standing(_ status: JSONNode) -> [DoctorCheck] {
        (status["standing"]?.elements ?? []).compactMap { alarm in
            guard let id = alarm["id"]?.string, id != Alarm.doctorFailed.id, id != Alarm.masterKeyNotEscrowed.id,
                id != Alarm.drillOverdue.id, id != Alarm.backupStale.id
            else { return nil }
            let subject = alarm["subject"]?.string.map { " (\($0))" } ?? ""
            return DoctorCheck(
                "alarm \(id)\(subject)", .warn, alarm["detail"]?.string ?? "it stands", fix: alarm["fix"]?.string)
        }
    }

    private func escrow(_ status: JSONNode) -> DoctorCheck {
        alarm(.masterKeyNotEscrowed, in: status, "escrow", well: "every holder has proved his share within a year")
    }

    private func drill(_ status: JSONNode) -> DoctorCheck {
        alarm(.drillOverdue, in: status, "drill", well: "what has to work in an emergency was rehearsed of late")
    }

    private func alarm(_ alarm: Alarm, in status: JSONNode, _ id: String, well: String) -> DoctorCheck {
        let details = (status["standing"]?.elements ?? []).filter { $0["id"]?.string == alarm.id }
            .compactMap { $0["detail"]?.string }
        return details.isEmpty
            ? DoctorCheck(id, .pass, well)
            : DoctorCheck(id, .warn, details.joined(separator: "; "), fix: alarm.fix)
    }
}
