import Cryptography
import Diagnostics
import FoundationEssentials
import Glibc
import SecretMemory
import Testing
import WireText

@testable import MasterKey

@Suite struct KeyEncryptionKeyTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path("kek") }

    init() throws { directory = try TemporaryDirectory() }

    private func content() throws -> [UInt8] { Array(try #require(FileManager.default.contents(atPath: path))) }

    /// Writes the text as a key file of mode 0600 and returns the refusal; nil when it is taken.
    private func refusal(_ text: [UInt8]) throws -> DiagnosedError? {
        unlink(path)
        try Data(text).write(to: URL(filePath: path))
        chmod(path, 0o600)
        do {
            _ = try KeyEncryptionKey.load(fromFile: path, credentialsDirectory: nil)
            return nil
        } catch {
            return error
        }
    }

    private func refusal(at path: String? = nil, credentials: String? = nil) -> DiagnosedError? {
        do {
            _ = try KeyEncryptionKey.load(fromFile: path ?? self.path, credentialsDirectory: credentials)
            return nil
        } catch {
            return error
        }
    }

    @Test("what is saved loads as the same key, in a file that is the owner's alone")
    func roundTrip() throws {
        let kek = try KeyEncryptionKey.create()
        try kek.save(toNewFile: path)
        var status = stat()
        #expect(stat(path, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)
        let loaded = try KeyEncryptionKey.load(fromFile: path, credentialsDirectory: nil)
        #expect(loaded.fingerprint == kek.fingerprint)
        let root = try SymmetricKey.random()
        #expect(try loaded.unwrap(kek.wrap(root, version: 3), version: 3).isEqual(to: root))
    }

    @Test("what is saved is the owner's alone whatever the process lets new files be")
    func openMask() async {
        // The mask belongs to the whole process: this one has its own.
        await #expect(processExitsWith: .success) {
            umask(0)
            let directory = try TemporaryDirectory()
            try KeyEncryptionKey.create().save(toNewFile: directory.path("kek"))
            var status = stat()
            #expect(stat(directory.path("kek"), &status) == 0)
            #expect(status.st_mode & 0o7777 == 0o600)
        }
    }

    @Test("the file is one line of header, fingerprint and key")
    func form() throws {
        let kek = try KeyEncryptionKey.create()
        try kek.save(toNewFile: path)
        let text = String(decoding: try content(), as: UTF8.self)
        let fields = text.dropLast().split(separator: " ", omittingEmptySubsequences: false)
        #expect(text.last == "\n")
        #expect(fields.count == 3)
        #expect(fields.first == "HDS-KEK-1")
        #expect(fields[1] == kek.fingerprint)
        #expect(kek.fingerprint.count == 16)
        #expect(Hexadecimal.decode(kek.fingerprint) != nil)
        #expect(Base64URL.decode(fields[2])?.count == 32)
    }

    @Test("keys are random and so are their fingerprints")
    func random() throws {
        let fingerprints = try Set((0..<50).map { _ in try KeyEncryptionKey.create().fingerprint })
        #expect(fingerprints.count == 50)
    }

    @Test("an existing file is never overwritten")
    func noOverwriting() throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        let before = try content()
        let error = #expect(throws: DiagnosedError.self) { try KeyEncryptionKey.create().save(toNewFile: path) }
        #expect(error?.code == .masterKeyExists)
        #expect(try content() == before)
        symlink(directory.path("nowhere"), directory.path("link"))
        #expect(throws: DiagnosedError.self) { try KeyEncryptionKey.create().save(toNewFile: directory.path("link")) }
        #expect(!FileManager.default.fileExists(atPath: directory.path("nowhere")))
    }

    @Test("a file that can not be written says why and leaves nothing")
    func unwritable() throws {
        let error = #expect(throws: DiagnosedError.self) {
            try KeyEncryptionKey.create().save(toNewFile: directory.path("missing/kek"))
        }
        #expect(error?.code == .masterKeyUnwritable)
        #expect(error?.description.contains(directory.path("missing/kek")) == true)
    }

    @Test("a truncated file is refused at every length, as truncated from the header on")
    func truncated() throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        let text = try content()
        // Without the line feed it is whole.
        #expect(try refusal(Array(text.dropLast())) == nil)
        for count in 0..<text.count - 1 {
            let error = try #require(try refusal(Array(text.prefix(count))), "\(count) octets were taken")
            #expect(error.code == .masterKeyTruncated, "\(count) octets: \(error)")
            #expect(error.fault == .configuration)
        }
    }

    @Test("every changed character is noticed, and no error shows a piece of the key")
    func damaged() throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        let text = try content()
        let key = Array(text[27..<70])
        var codes: Set<DiagnosedError.Code> = []
        for position in 0..<text.count - 1 {
            for replacement in [UInt8(ascii: "0"), UInt8(ascii: "A"), UInt8(ascii: " "), UInt8(ascii: "\n"), 0, 0xFF]
            where replacement != text[position] {
                var changed = text
                changed[position] = replacement
                let error = try #require(try refusal(changed), "octet \(position) as \(replacement) was taken")
                codes.insert(error.code)
                for start in stride(from: 0, to: key.count - 8, by: 4) {
                    let piece = String(decoding: key[start..<start + 8], as: UTF8.self)
                    #expect(!error.description.contains(piece))
                }
            }
        }
        #expect(codes == [.masterKeyMalformed, .masterKeyDamaged])
    }

    @Test("a key in the fingerprint's place is not shown")
    func misplacedKey() throws {
        let secret = "0123456789abcdeZ"
        let key = Base64URL.encode([UInt8](repeating: 7, count: 32))
        let error = try #require(try refusal(Array("HDS-KEK-1 \(secret) \(key)\n".utf8)))
        #expect(error.code == .masterKeyDamaged)
        #expect(!error.description.contains(secret))
    }

    @Test("what is no key file is named as such")
    func malformed() throws {
        let key = Base64URL.encode([UInt8](repeating: 7, count: 32))
        for text in [
            "-----BEGIN PRIVATE KEY-----\n", "HDS-KEK-2 0123456789abcdef \(key)\n",
            "HDS-KEK-1 0123456789abcdef \(key) \n", "HDS-KEK-1 0123456789abcdef \(key)\n\n",
            "HDS-KEK-1 0123456789abcdef \(key)\r\n", "HDS-KEK-1  0123456789abcde \(key)\n",
            String(repeating: "A", count: 5000),
        ] {
            #expect(try refusal(Array(text.utf8))?.code == .masterKeyMalformed, "\(text.debugDescription)")
        }
    }

    @Test(
        "modes that let others in are refused, 0600 and 0400 are taken",
        arguments: [
            0o644, 0o640, 0o606, 0o660, 0o700, 0o4600, 0o604, 0o777,
        ])
    func modes(_ mode: mode_t) throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        chmod(path, mode)
        let error = try #require(refusal())
        #expect(error.code == .masterKeyPermissions)
        #expect(error.description.contains("0" + String(mode, radix: 8)))
        chmod(path, 0o400)
        #expect(refusal() == nil)
    }

    @Test("a file of another user is refused", .enabled(if: geteuid() == 0, "needs root to give a file away"))
    func owner() throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        chown(path, 12345, 12345)
        let error = try #require(refusal())
        #expect(error.code == .masterKeyPermissions)
        #expect(error.description.contains("12345"))
    }

    @Test("links, folders, pipes and absent files are refused, each with its reason")
    func kinds() throws {
        try KeyEncryptionKey.create().save(toNewFile: path)
        symlink(path, directory.path("link"))
        mkdir(directory.path("folder"), 0o700)
        mkfifo(directory.path("pipe"), 0o600)
        #expect(refusal(at: directory.path("link"))?.code == .masterKeyUnreadable)
        #expect(refusal(at: directory.path("link"))?.description.contains("symbolic link") == true)
        #expect(refusal(at: directory.path("folder"))?.code == .masterKeyUnreadable)
        #expect(refusal(at: directory.path("pipe"))?.code == .masterKeyUnreadable)
        #expect(refusal(at: directory.path("absent"))?.code == .masterKeyMissing)
        #expect(refusal(at: path + "/kek")?.code == .masterKeyMissing)
    }

    @Test("inside systemd's directory of credentials modes are systemd's matter, elsewhere they are not")
    func credentials() throws {
        mkdir(directory.path("credentials"), 0o755)
        mkdir(directory.path("other"), 0o755)
        for folder in ["credentials", "other"] {
            try KeyEncryptionKey.create().save(toNewFile: directory.path("\(folder)/kek"))
            chmod(directory.path("\(folder)/kek"), 0o444)
        }
        symlink(directory.path("credentials"), directory.path("run"))
        symlink(directory.path("other/kek"), directory.path("credentials/link"))
        let credentials = directory.path("credentials")
        #expect(refusal(at: directory.path("credentials/kek"), credentials: credentials) == nil)
        #expect(refusal(at: directory.path("credentials/kek"), credentials: credentials + "/") == nil)
        #expect(refusal(at: directory.path("credentials/kek"), credentials: directory.path("run")) == nil)
        #expect(refusal(at: directory.path("run/kek"), credentials: credentials) == nil)
        #expect(refusal(at: directory.path("credentials/kek"), credentials: "")?.code == .masterKeyPermissions)
        #expect(refusal(at: directory.path("credentials/kek"), credentials: nil)?.code == .masterKeyPermissions)
        for outside in ["other/kek", "credentials/../other/kek", "credentials/link"] {
            #expect(refusal(at: directory.path(outside), credentials: credentials) != nil, "\(outside)")
        }
    }

    @Test("a wrapped root key opens under its own key and version only, and not when a bit differs")
    func wrapping() throws {
        let kek = try KeyEncryptionKey.create()
        let root = try SymmetricKey.random()
        let wrapped = try kek.wrap(root, version: 2)
        #expect(try kek.unwrap(wrapped, version: 2).isEqual(to: root))
        #expect(try kek.wrap(root, version: 2) != wrapped)
        func code(_ wrapped: [UInt8], _ version: Int64 = 2, _ kek: KeyEncryptionKey) -> DiagnosedError.Code? {
            do {
                _ = try kek.unwrap(wrapped, version: version)
                return nil
            } catch {
                return (error as? DiagnosedError)?.code
            }
        }
        #expect(code(wrapped, 1, kek) == .rootKeyDamaged)
        #expect(code(wrapped, 2, try KeyEncryptionKey.create()) == .rootKeyDamaged)
        for count in 0..<wrapped.count { #expect(code(Array(wrapped.prefix(count)), 2, kek) == .rootKeyDamaged) }
        #expect(code(wrapped + [0], 2, kek) == .rootKeyDamaged)
        for octet in wrapped.indices {
            for bit in 0..<8 {
                var changed = wrapped
                changed[octet] ^= 1 << bit
                #expect(code(changed, 2, kek) == .rootKeyDamaged)
            }
        }
    }
}
