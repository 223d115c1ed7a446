import Cryptography
import Diagnostics
import Glibc
import HTTPClient
import TLSChannel
import TestServers
import Testing
import WireText

@testable import KMSService
@testable import LinkedService
@testable import ServiceRuntime

@Suite("Configuration of the ways out")
struct NetworkSectionsTests {
    private static let example: String = {
        let root = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return (try? FileLocation("\(root)/config/hds-kms.yaml").text()) ?? ""
    }()

    /// The example with its remarks of these two sections taken for keys.
    static let shown: String = {
        var isInside = false
        return example.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            if line == "# proxy:" || line == "  # inspection:" { isInside = true }
            guard isInside else { return String(line) }
            guard line.hasPrefix("#") || line.hasPrefix("  #") else {
                isInside = false
                return String(line)
            }
            return line.hasPrefix("  # ") ? "  " + line.dropFirst(4) : String(line.dropFirst(2))
        }.joined(separator: "\n")
    }()

    static func decode(_ text: String = shown) throws -> KMSServiceConfiguration {
        try ConfigurationFile.decode(Array(text.utf8), file: "hds-kms.yaml", folder: "/etc/hds")
    }

    @Test("the example shows every key of proxy and inspection, and is taken when they are no remarks")
    func example() throws {
        let names =
            ProxySection.CodingKeys.allCases.map(\.rawValue) + InspectionSection.CodingKeys.allCases.map(\.rawValue)
        for name in names { #expect(Self.example.contains("#   \(name):"), "\(name)") }
        let absent = try Self.decode(Self.example)
        #expect(absent.proxy == nil && absent.core.inspection == nil)
        // The example's ca is one for https proxies.
        let text = Self.shown.replacing("  address: http://proxy", with: "  address: https://proxy")
        let read = try Self.decode(text)
        let proxy = try #require(read.proxy)
        #expect(proxy.user == #"EXAMPLE\hds-kms"# && proxy.password == .credential("kms-proxy-password"))
        #expect(proxy.basic == .whenAsked && proxy.exceptions == ["auth.example.com", ".local.example.com"])
        let inspection = try #require(read.core.inspection)
        #expect(
            inspection.name == "gate of the head office" && inspection.until.iso8601.hasPrefix("2027-04-01T00:00:00"))
    }

    @Test(
        "what can not be meant is refused with its line",
        arguments: [
            ("  address: http://proxy.example.com:3128", "  address: http://proxy.example.com:3128/path", "HOST:PORT"),
            ("  address: http://proxy.example.com:3128", "  address: ftp://proxy.example.com", "URL"),
            ("  ca: /etc/hds/proxy-ca.pem", "  # none", "https"),
            (#"  user: EXAMPLE\hds-kms"#, "  # none", "together"),
            (#"  user: EXAMPLE\hds-kms"#, "  user: \"a:b\"", "colon"),
            ("  basic: when-asked", "  basic: sometimes", "basic"),
            ("  except: [auth", "  except: [\"*.x\", auth", "host names"),
            ("    until: 2027-03-31", "    until: next year", "YYYY-MM-DD"),
            ("    until: 2027-03-31", "    until: 2027-02-30", "YYYY-MM-DD"),
            ("    name: gate of the head office", "    name: Gerät", "printable"),
            ("    core-key: /etc/hds/core-link-key.pem", "    # none", "core-key"),
            ("  pins: []", "  pins: [a, a]", "twice"),
        ])
    func refused(from: String, to: String, why: String) throws {
        var text = Self.shown.replacing("  address: http://proxy", with: "  address: https://proxy")
        let from = from.replacing("http://proxy", with: "https://proxy")
        #expect(text.contains(from))
        text = text.replacing(from, with: to)
        let error = #expect(throws: ConfigurationError.self) { try Self.decode(text) }
        #expect("\(String(describing: error))".contains(why), "\(String(describing: error))")
    }

    @Test("an exception that is over or has no near end is refused at the start, and its key is a P-256 key")
    func inspection() throws {
        let folder = TemporaryFolder()
        let pki = try TestPKI.shared.get()
        try pki.customerRoot.pem.write(folder.path + "/gate.pem")
        try PrivateKey.generateP256().publicKey.pem.write(folder.path + "/core.pub")
        try PrivateKey.generateRSA().publicKey.pem.write(folder.path + "/rsa.pub")
        func section(key: String = "core.pub") throws -> InspectionSection {
            let text = Self.shown.replacing("  address: http://proxy", with: "  address: https://proxy")
                .replacing("/etc/hds/tls-inspection-ca.pem", with: folder.path + "/gate.pem")
                .replacing("/etc/hds/core-link-key.pem", with: folder.path + "/" + key)
            return try #require(try Self.decode(text).core.inspection)
        }
        let end = try #require(Timestamp(iso8601: "2027-04-01T00:00:00Z"))
        let exception = try section().exception(now: end.adding(seconds: -1))
        #expect(exception.name == "gate of the head office" && exception.until == end)
        #expect(exception.authorities == [pki.customerRoot])
        #expect(try section().key().kind == .p256)
        _ = try section().exception(now: end.adding(seconds: -365 * 86_400))
        #expect(throws: DiagnosedError("inspection-over", fault: .configuration, "")) {
            try section().exception(now: end)
        }
        #expect(throws: DiagnosedError("inspection-too-long", fault: .configuration, "")) {
            try section().exception(now: end.adding(seconds: -367 * 86_400))
        }
        #expect(throws: DiagnosedError("inspection-key", fault: .configuration, "")) {
            try section(key: "rsa.pub").key()
        }
    }

    @Test("the password is asked for at each use, a file of it may be open to nobody, and nothing shows it")
    func password() async throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/password"
        try "first\n".write(file)
        let text = Self.shown.replacing("  ca: /etc/hds/proxy-ca.pem", with: "")
            .replacing("credential:kms-proxy-password", with: file)
        let section = try #require(try Self.decode(text).proxy)
        chmod(file, 0o644)
        let open = #expect(throws: DiagnosedError.self) { try section.proxy(Credentials(folder: nil)) }
        #expect(open?.code == .credentialTooOpen && open?.description.contains("first") == false)
        chmod(file, 0o600)
        let proxy = try section.proxy(Credentials(folder: nil))
        #expect(proxy.name == "proxy.example.com:3128" && !"\(proxy)".contains("first"))
        try "two\nlines".write(file)
        #expect(throws: DiagnosedError("proxy-password", fault: .configuration, "")) {
            try section.proxy(Credentials(folder: nil))
        }
    }
}

extension String {
    /// Into a file of mode 0600.
    func write(_ path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "open \(path)") }
        defer { close(descriptor) }
        let bytes = Array(utf8)
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count else { throw TestPKI.Failure(what: path) }
    }
}
