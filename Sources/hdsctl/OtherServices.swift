import Diagnostics
import Glibc
import HTTPClient
import ServiceRuntime
import WireText

/// The services of this machine beside hds-kms, asked at their health addresses.
enum OtherServices {
    struct Seen: Sendable {
        let service: String
        let address: String
        /// What `/healthz` answered, as text; nil: nothing.
        let answer: String?
        /// Why there is none.
        let trouble: String?

        private var root: JSONNode? { answer.flatMap { try? JSONDocument(text: $0).root } }

        var isFailing: Bool { root?["status"]?.string.map { $0 == "fail" } ?? true }

        var lines: [String] {
            guard let root else {
                return [
                    "\(service)  does not answer at \(address): \(trouble ?? "no health document")",
                    "          to do: systemctl status \(service); journalctl -u \(service) -n 50 says why",
                ]
            }
            var lines = ["\(service) \(root.text("version"))", "state     \(root.text("sentence"))"]
            for alarm in root.nodes("alarms") {
                lines.append("alarm     \(alarm.text("id")): \(alarm.text("detail"))")
                lines.append("          \(alarm.text("severity")); to do: \(alarm.text("fix"))")
            }
            for warning in root.nodes("warnings") {
                lines.append("warning   \(warning.text("text"))")
                lines.append("          to do: \(warning.text("fix"))")
            }
            return lines
        }

        func write(to json: inout JSONWriter) {
            json.beginObject()
            json.member("service", service)
            json.member("address", address)
            json.member("answers", root != nil)
            json.member("status", root?["status"]?.string ?? "fail")
            json.member("ready", root?["ready"]?.boolean ?? false)
            json.member("version", ifPresent: root?["version"]?.string)
            json.member("sentence", root?["sentence"]?.string ?? trouble ?? "does not answer")
            json.member("alarms", root?.nodes("alarms").compactMap { $0["id"]?.string } ?? [])
            json.endObject()
        }
    }

    /// Those that have a configuration in the folder.
    static func look(_ folder: String) -> [Seen] {
        ["hds-auth", "hds-core"].compactMap { service in
            let file = "\(folder)/\(service).yaml"
            guard access(file, F_OK) == 0 else { return nil }
            guard let address = ConfigurationFile.healthAddress(in: file) else {
                return Seen(
                    service: service, address: file, answer: nil, trouble: "its configuration names no health address")
            }
            return ask(service, address)
        }
    }

    private static func ask(_ service: String, _ address: NetworkAddress) -> Seen {
        do {
            let response = try waiting {
                let client = WebClient(trust: nil)
                let response = try await client.send(
                    WebRequest(url: "http://\(address)/healthz", timeout: .seconds(5)))
                await client.close()
                return response
            }
            return Seen(
                service: service, address: "\(address)", answer: String(decoding: response.body, as: UTF8.self),
                trouble: nil)
        } catch {
            return Seen(
                service: service, address: "\(address)", answer: nil,
                trouble: (error as? DiagnosedError).map { $0.found ?? $0.summary } ?? "\(error)")
        }
    }
}
