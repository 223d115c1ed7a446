import Diagnostics
import Glibc
import Testing

@testable import ServiceRuntime

@Suite("Credentials")
struct CredentialTests {
    private let folder: TemporaryFolder
    init() throws { folder = try TemporaryFolder() }

    private func bytes(_ location: SecretLocation, credentials: Credentials = Credentials(folder: nil)) throws
        -> [UInt8]
    {
        try credentials.withBytes(of: location) { Array($0) }
    }
    private func code(_ location: SecretLocation, credentials: Credentials = Credentials(folder: nil)) -> String? {
        #expect(throws: DiagnosedError.self) { try bytes(location, credentials: credentials) }?.code.rawValue
    }
    private func file(_ name: String, _ text: String, mode: mode_t = 0o600) -> SecretLocation {
        .file(FileLocation(folder.write(name, text, mode: mode)))
    }

    @Test("a strict file gives exactly its bytes")
    func strictFile() throws {
        #expect(try bytes(file("a", "line\n")) == Array("line\n".utf8))
        #expect(try bytes(file("b", "read only", mode: 0o400)) == Array("read only".utf8))
    }

    @Test("a file that others may read or write is refused, with the command that mends it")
    func openFile() throws {
        for mode: mode_t in [0o640, 0o604, 0o620, 0o601, 0o644] {
            #expect(code(file("a", "x", mode: mode)) == "credential-too-open", "\(String(mode, radix: 8))")
        }
        let error = #expect(throws: DiagnosedError.self) { try bytes(file("a", "hunter2", mode: 0o644)) }
        #expect(error?.hint?.hasPrefix("chmod 600 \(folder.path)/a") == true)
        #expect(error?.found == "mode 0644")
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test("a file of another user is refused", .enabled(if: geteuid() == 0, "only root can give files away"))
    func foreignFile() throws {
        let path = folder.write("a", "x")
        #expect(chown(path, 12_345, 12_345) == 0)
        #expect(code(.file(FileLocation(path))) == "credential-foreign")
    }

    @Test("what is missing, empty, too large or no file is refused")
    func unusable() {
        #expect(code(.file(FileLocation("\(folder.path)/absent"))) == "credential-missing")
        #expect(code(file("empty", "")) == "credential-unreadable")
        #expect(code(.file(FileLocation(folder.path))) == "credential-unreadable")
        let large = String(repeating: "x", count: Credentials.maximumBytes)
        #expect((try? bytes(file("large", large)).count) == Credentials.maximumBytes)
        #expect(code(file("over", large + "x")) == "credential-unreadable")
        mkfifo("\(folder.path)/pipe", 0o600)
        #expect(code(.file(FileLocation("\(folder.path)/pipe"))) == "credential-unreadable")
    }

    @Test("systemd's folder is taken as it is, by name; without it the unit is named as the place to mend")
    func handedOver() throws {
        let systemd = Credentials(folder: folder.path)
        folder.write("kek", "secret", mode: 0o444)
        #expect(try bytes(.credential("kek"), credentials: systemd) == Array("secret".utf8))
        #expect(code(.credential("absent"), credentials: systemd) == "credential-missing")
        let error = #expect(throws: DiagnosedError.self) { try bytes(.credential("kek")) }
        #expect(error?.hint?.contains("LoadCredential=kek:") == true)
    }

    @Test("a line of text loses its end and nothing else")
    func text() throws {
        let credentials = Credentials(folder: nil)
        #expect(try credentials.text(of: file("a", " pass word \r\n\n")).reveal { $0 } == " pass word ")
        let blank = #expect(throws: DiagnosedError.self) { try credentials.text(of: file("b", "\n")) }
        #expect(blank?.code == .credentialUnreadable)
    }
}
