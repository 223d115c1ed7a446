import ChildProcess
import Diagnostics
import Glibc
import TestServers
import Testing

@testable import ServiceRuntime

@Suite("The unit of a service, read as files")
struct ServiceUnitTests {
    private let root = TestServers.TemporaryFolder()

    private func write(_ text: String, to name: String, mode: mode_t = 0o644) throws {
        var folder = root.path
        for part in name.split(separator: "/").dropLast() {
            folder += "/\(part)"
            mkdir(folder, 0o755)
        }
        let descriptor = open("\(root.path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, mode)
        guard descriptor >= 0 else { throw TestPKI.Failure(what: "write \(name)") }
        defer { close(descriptor) }
        let octets = Array(text.utf8)
        guard Glibc.write(descriptor, octets, octets.count) == octets.count else {
            throw TestPKI.Failure(what: "write \(name)")
        }
    }

    private var unit: ServiceUnit { ServiceUnit(unit: "hds-kms.service", root: root.path) }

    @Test(
        "says its user and where its credentials come from; drop-ins add, take back and encrypt in the order of names")
    func credentials() throws {
        #expect(!unit.isInstalled && unit.sources.isEmpty)
        try write(
            """
            [Service]
            User=root
            # LoadCredential=no:/no
            LoadCredential=kms-master-key:/etc/hds/credentials/kms-master-key
            LoadCredential=kms-static-key:/etc/hds/credentials/kms-static-key.pem
            """, to: "usr/lib/systemd/system/hds-kms.service")
        #expect(unit.isInstalled && unit.user == "root" && unit.userID == 0)
        #expect(unit.sources.keys.sorted() == ["kms-master-key", "kms-static-key"])
        #expect(
            unit.sources["kms-master-key"]
                == .init(path: root.path + "/etc/hds/credentials/kms-master-key", isEncrypted: false))

        try write(
            "[Service]\nLoadCredential=\nLoadCredentialEncrypted=kms-master-key:/etc/hds/credentials/kms-master-key.cred\n",
            to: "etc/systemd/system/hds-kms.service.d/20-setup.conf")
        #expect(unit.sources.keys.sorted() == ["kms-master-key"])
        #expect(unit.sources["kms-master-key"]?.isEncrypted == true)
        try write("[Service]\nLoadCredential=more:/more\n", to: "run/systemd/system/hds-kms.service.d/30-more.conf")
        #expect(unit.sources.keys.sorted() == ["kms-master-key", "more"])
    }

    @Test("an administrator's tool opens what the unit hands over, and finds fault with its mode")
    func opened() throws {
        try write(
            "[Service]\nLoadCredential=word:/word\n", to: "usr/lib/systemd/system/hds-kms.service")
        try write("secret\n", to: "word", mode: 0o600)
        let credentials = Credentials(folder: nil, unit: unit)
        #expect(try credentials.text(of: .credential("word")).reveal { $0 } == "secret")
        #expect(!credentials.isHandedOver(.credential("word")))
        chmod(root.path + "/word", 0o644)
        let open = #expect(throws: DiagnosedError.self) { try credentials.text(of: .credential("word")) }
        #expect(open?.code == .credentialTooOpen)
        let other = #expect(throws: DiagnosedError.self) { try credentials.text(of: .credential("other")) }
        #expect(other?.code == .credentialMissing)
    }
}

@Suite("Another program")
struct OtherProgramTests {
    @Test("gets its input from memory, gives back what is wanted of its output, and its exit code")
    func run() throws {
        let text = Array("words\n".utf8)
        let ending = try #require(
            text.withUnsafeBytes { OtherProgram.run("/bin/sh", ["-c", "cat; echo e >&2; exit 3"], input: $0) })
        #expect(ending.code == 3 && ending.text.contains("words\n") && ending.text.contains("e\n"))
        let plain = try #require(
            text.withUnsafeBytes {
                OtherProgram.run("/bin/sh", ["-c", "cat; echo e >&2"], input: $0, output: .standard)
            })
        #expect(plain.text == "words\n" && plain.code == 0)
        let errors = OtherProgram.run("/bin/sh", ["-c", "echo o; echo e >&2"], output: .errors)
        #expect(errors?.text == "e\n" && errors?.lastLine == "e")
        #expect(OtherProgram.run("/no/such/program", []) == nil)
    }

    @Test("is ended when its time is over, and has nothing of this process's environment")
    func bounds() throws {
        let ending = try #require(OtherProgram.run("/bin/sh", ["-c", "exec sleep 60"], limit: .milliseconds(200)))
        #expect(ending.code == 128 + SIGKILL)
        let shown = try #require(OtherProgram.run("/usr/bin/env", []))
        #expect(!shown.text.contains("HOME=") && shown.text.contains("LC_ALL=C"))
    }

    @Test("has none of this process's descriptors, also of those that programs inherit")
    func descriptors() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        let shown = try #require(OtherProgram.run("/bin/sh", ["-c", "cd /proc/self/fd; echo *"]))
        // The shell's own folder aside.
        #expect(!shown.text.split(separator: " ").contains { Int32($0) == ends[0] || Int32($0) == ends[1] })
        #expect(shown.text.hasPrefix("0 1 2"))
    }
}
