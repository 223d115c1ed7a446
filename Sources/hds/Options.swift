import ArgumentParser
import Diagnostics
import Glibc
import HDSClient
import WireText

/// What every command takes.
struct CommonOptions: ParsableArguments {
    @Option(help: ArgumentHelp("State folder (default: HDS_HOME, or ~/.local/state/hds).", valueName: "folder"))
    var home: String?

    @Option(help: ArgumentHelp("File whose first line is the passphrase of the state.", valueName: "file"))
    var passphraseFile: String?

    @Flag(help: "Print JSON for scripts.")
    var json = false

    @Flag(help: "Say what was received and refused.")
    var verbose = false

    var folder: String {
        get throws {
            if let home, !home.isEmpty { return home }
            func variable(_ name: String) -> String? {
                getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
            }
            if let home = variable("HDS_HOME") { return home }
            if let state = variable("XDG_STATE_HOME") { return state + "/hds" }
            guard let user = variable("HOME") else {
                throw DiagnosedError(
                    .stateFile, fault: .configuration, "the state folder is not known", expected: "--home or HDS_HOME")
            }
            return user + "/.local/state/hds"
        }
    }

    func openStore() throws -> StateStore {
        try StateStore.open(folder: try folder) {
            if let passphraseFile { return Passphrase(try Prompt.secret(file: passphraseFile)) }
            return Prompt.secret("Passphrase of this device: ").map { Passphrase($0) }
        }
    }

    var environment: ClientEnvironment {
        let isVerbose = verbose
        return ClientEnvironment(deviceName: "hds on " + Self.hostName()) { error in
            if isVerbose { Terminal.error.line("hds: note: \(error)") }
        }
    }

    /// Runs `body` with a connected client and closes it.
    func withClient(_ body: (Client) async throws -> Void) async throws {
        let client = try await Client.connect(try openStore(), environment: environment)
        do {
            try await body(client)
        } catch {
            await client.close()
            throw Self.failure(error, json)
        }
        await client.close()
    }

    static func failure(_ error: any Error, _ asJSON: Bool) -> any Error {
        (DiagnosedError.diagnosing(error)).map { Failure($0, asJSON: asJSON) } ?? error
    }

    private static func hostName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "this machine" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
