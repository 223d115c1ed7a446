import Glibc
import HardwareToken
import TestServers

/// A token of SoftHSM2.
///
/// SoftHSM reads `SOFTHSM2_CONF` when its library starts and never again, so all tests of a process share one folder and
/// have a token each.
struct SoftToken {
    static let module = "/usr/lib/softhsm/libsofthsm2.so"
    static let pin = "1234-test"
    static var isInstalled: Bool { access(module, R_OK) == 0 && access("/usr/bin/softhsm2-util", X_OK) == 0 }

    struct Failure: Error { let words: [String] }

    /// The folder, and the environment that names it, once for the process.
    private static let folder: TemporaryFolder = {
        let folder = TemporaryFolder()
        mkdir(folder.path + "/tokens", 0o700)
        write("directories.tokendir = \(folder.path)/tokens\nlog.level = ERROR\n", to: folder.path + "/conf")
        setenv("SOFTHSM2_CONF", folder.path + "/conf", 1)
        return folder
    }()

    let label: String

    init() throws {
        _ = Self.folder
        label = "hds-" + String(UInt32.random(in: 0...UInt32.max), radix: 16)
        try Self.run(["--init-token", "--free", "--label", label, "--so-pin", "so-pin-test", "--pin", Self.pin])
    }

    func location(key: String = "kek", token: String? = nil) -> TokenKey.Location {
        TokenKey.Location(module: Self.module, token: token ?? label, key: key)
    }

    /// Puts a key of ours into the token.
    func importKey(_ key: String, bits: Int) throws {
        let file = Self.folder.path + "/\(label)-key"
        Self.write(String(repeating: "k", count: bits / 8), to: file)
        defer { unlink(file) }
        try Self.run([
            "--import", file, "--aes", "--token", label, "--pin", Self.pin, "--label", key, "--id", "0A",
        ])
    }

    private static let tool = "/usr/bin/pkcs11-tool"
    static var makesExtractableKeys: Bool { access(tool, X_OK) == 0 }

    func makeExtractableKey(_ key: String) throws {
        try Self.run(
            [
                "--module", Self.module, "--token-label", label, "--login", "--pin", Self.pin, "--keygen", "--key-type",
                "AES:32", "--extractable", "--label", key,
            ], program: Self.tool)
    }

    private static func write(_ text: String, to path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        var octets = Array(text.utf8)
        _ = Glibc.write(descriptor, &octets, octets.count)
    }

    private static func run(_ words: [String], program: String = "/usr/bin/softhsm2-util") throws {
        var arguments = ([program] + words).map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        var pid = pid_t(), status: Int32 = 0
        guard posix_spawn(&pid, program, &actions, nil, &arguments, environ) == 0,
            waitpid(pid, &status, 0) == pid, status == 0
        else { throw Failure(words: words) }
    }
}
