import Diagnostics
import Glibc
import Testing

@testable import ServiceRuntime

/// A folder that is gone after the test.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/hds-runtime-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw NoFolder() }
        path = String(cString: made)
    }
    /// Its files; tests make no folders inside.
    deinit {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            withUnsafeBytes(of: entry.pointee.d_name) { name in
                if let start = name.bindMemory(to: CChar.self).baseAddress { unlinkat(dirfd(folder), start, 0) }
            }
        }
        closedir(folder)
        rmdir(path)
    }

    struct NoFolder: Error {}

    @discardableResult
    func write(_ name: String, _ text: String, mode: mode_t = 0o600) -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = text.withCString { Glibc.write(descriptor, $0, strlen($0)) }
        fchmod(descriptor, mode)
        close(descriptor)
        return file
    }
}

@Suite("Configuration path")
struct ConfigurationPathTests {
    struct Small: Decodable {
        let file: FileLocation
        enum CodingKeys: String, CodingKey, CaseIterable { case file }
    }

    private func summary(_ path: String) -> String? {
        let error = #expect(throws: ConfigurationError.self) { try ConfigurationFile.read(path, as: Small.self) }
        return error?.problems[0].summary
    }

    @Test("relative paths start at the folder of the file")
    func relativePaths() throws {
        let folder = try TemporaryFolder()
        let path = folder.write("small.yaml", "file: keys/root.pem\n")
        #expect(try ConfigurationFile.read(path, as: Small.self).file.path == "\(folder.path)/keys/root.pem")
    }

    @Test("a missing file, a folder and a pipe are refused without waiting")
    func noRegularFile() throws {
        let folder = try TemporaryFolder()
        #expect(summary("\(folder.path)/absent.yaml") == "the configuration file can not be read")
        #expect(summary(folder.path) == "this is no regular file")
        mkfifo("\(folder.path)/pipe", 0o600)
        #expect(summary("\(folder.path)/pipe") == "this is no regular file")
    }

    @Test("a file beyond the limit is refused and one at the limit is read")
    func size() throws {
        let folder = try TemporaryFolder()
        let head = "file: a\n#"
        let full = head + String(repeating: "x", count: ConfigurationFile.maximumBytes - head.utf8.count)
        #expect(try ConfigurationFile.read(folder.write("full", full), as: Small.self).file.path.hasSuffix("/a"))
        #expect(summary(folder.write("over", full + "x")) == "the file is too large")
    }
}

@Suite("Files that the configuration names")
struct NamedFileTests {
    private func error(_ location: FileLocation, upTo limit: Int = 1 << 20) -> DiagnosedError? {
        #expect(throws: DiagnosedError.self) { try location.text(upTo: limit) }
    }

    @Test("a text is read whole; what is missing, too large, no file or no text is refused with its path")
    func reading() throws {
        let folder = try TemporaryFolder()
        let file = FileLocation(folder.write("chain.pem", "Zürich\n", mode: 0o644))
        #expect(try file.text() == "Zürich\n")
        #expect(try file.text(upTo: 8) == "Zürich\n")
        #expect(error(file, upTo: 7)?.found == "8 bytes")
        #expect(error(FileLocation("\(folder.path)/absent"))?.found == "No such file or directory")
        #expect(error(FileLocation(folder.path))?.expected == "a regular file")
        let binary = folder.write("binary", "")
        let descriptor = open(binary, O_WRONLY)
        write(descriptor, [0xFF, 0xFE] as [UInt8], 2)
        close(descriptor)
        #expect(error(FileLocation(binary))?.code == .fileUnreadable)
        #expect(error(FileLocation(binary))?.summary == "\(binary) is no text")
    }
}

@Suite("Configuration values")
struct ConfigurationValueTests {
    @Test("times have a unit and no fraction")
    func times() {
        let good: [(String, Duration)] = [
            ("0s", .zero), ("500ms", .milliseconds(500)), ("10s", .seconds(10)), ("5m", .seconds(300)),
            ("24h", .seconds(86_400)), ("30d", .seconds(2_592_000)),
        ]
        for (text, time) in good { #expect(Duration(configurationText: text, folder: "/") == time, "\(text)") }
        for text in ["", "s", "10", "-1s", "1.5s", "1 s", "1S", "99999999999s", "99999999999999999999s", "1w"] {
            #expect(Duration(configurationText: text, folder: "/") == nil, "\(text)")
        }
    }

    @Test("sizes are binary and do not overflow")
    func sizes() {
        let good: [(String, Int64)] = [("7", 7), ("7B", 7), ("1KiB", 1024), ("64MiB", 67_108_864), ("2TiB", 2 << 40)]
        for (text, bytes) in good {
            #expect(ByteCount(configurationText: text, folder: "/")?.bytes == bytes, "\(text)")
        }
        for text in ["", "KiB", "1KB", "1kib", "-1B", "9999999999TiB"] {
            #expect(ByteCount(configurationText: text, folder: "/") == nil, "\(text)")
        }
    }

    @Test("addresses have a host and a port of 16 bits")
    func addresses() {
        let good: [(String, String, Int, Bool)] = [
            ("127.0.0.1:8443", "127.0.0.1", 8443, true), ("127.9.9.9:0", "127.9.9.9", 0, true),
            ("[::1]:443", "::1", 443, true), ("localhost:1", "localhost", 1, true),
            ("0.0.0.0:9410", "0.0.0.0", 9410, false), ("[::]:9410", "::", 9410, false),
            ("core.example.com:443", "core.example.com", 443, false),
            ("127.evil.example:1", "127.evil.example", 1, false),
        ]
        for (text, host, port, isLoopback) in good {
            let address = NetworkAddress(configurationText: text, folder: "/")
            #expect(address == NetworkAddress(host: host, port: port), "\(text)")
            #expect(address?.isLoopback == isLoopback, "\(text)")
            #expect(address?.description == text)
        }
        for text in [
            "", "a", ":80", "a:", "a:65536", "a:-1", "a:+1", "::1:80", "[::1]", "[a]:80", "a b:80", "u@h:80", "-a:1",
        ] {
            #expect(NetworkAddress(configurationText: text, folder: "/") == nil, "\(text)")
        }
    }

    @Test("web addresses are absolute, without user names, and know their default port")
    func webAddresses() throws {
        let full = try #require(WebAddress(configurationText: "https://core.example.com:8443/a/b?c=d", folder: "/"))
        #expect(full.scheme == .https && full.host == "core.example.com" && full.port == 8443 && full.path == "/a/b")
        #expect(full.isEncrypted && !full.isLoopback)
        #expect(WebAddress(configurationText: "wss://h", folder: "/")?.port == 443)
        #expect(WebAddress(configurationText: "http://[::1]/x", folder: "/")?.isLoopback == true)
        for text in [
            "core.example.com", "ftp://a", "https://", "https:///x", "https://u:p@h/", "https://h:0/", "https://h/#f",
            "https://h/ x", "https://h/\"", "https://h:x/",
        ] {
            #expect(WebAddress(configurationText: text, folder: "/") == nil, "\(text)")
        }
    }

    @Test("a secret is named by credential or by file, and a name can not leave the folder")
    func secrets() {
        #expect(SecretLocation(configurationText: "credential:kek", folder: "/etc") == .credential("kek"))
        #expect(SecretLocation(configurationText: "kek.bin", folder: "/etc") == .file(FileLocation("/etc/kek.bin")))
        for text in ["credential:", "credential:../x", "credential:a/b", "credential:..", "credential:a b", ""] {
            #expect(SecretLocation(configurationText: text, folder: "/") == nil, "\(text)")
        }
    }

    @Test("the nearest name is found across typing errors and not by force")
    func nearestName() {
        let names = ["listen", "log-level", "drain-deadline", "store"]
        let cases: [(String, String?)] = [
            ("lisen", "listen"), ("litsen", "listen"), ("LISTEN", "listen"), ("log_level", "log-level"),
            ("drain-dedline", "drain-deadline"), ("sotre", "store"), ("password", nil), ("x", nil), ("", nil),
        ]
        for (name, nearest) in cases { #expect(NearestName.of(name, among: names) == nearest, "\(name)") }
        #expect(NearestName.of("a", among: []) == nil)
    }
}
