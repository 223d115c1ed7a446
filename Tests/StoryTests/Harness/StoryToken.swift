import Foundation

/// A token of SoftHSM2 in the folder of a domain, with a master key in it.
struct StoryToken {
    static let isInstalled = FileManager.default.isExecutableFile(atPath: "/usr/bin/softhsm2-util")
    static let module = "/usr/lib/softhsm/libsofthsm2.so"

    let domain: Domain
    /// For whatever uses the token.
    var environment: [String: String] { ["SOFTHSM2_CONF": domain.path("softhsm.conf")] }
    /// The options of the tool that name it.
    var options: [String] { ["--module", Self.module, "--token", "hds", "--passphrase-file", domain.path("kms/pin")] }

    /// What stands in a configuration in the place of `master-key`.
    static let section = """
        master-key-token:
          module: \(module)
          token: hds
          key: kms-master-key
          pin: pin
        """

    /// The files that have to be there before a service starts with `environment`.
    static func prepare(_ domain: Domain) throws {
        try FileManager.default.createDirectory(atPath: domain.path("tokens"), withIntermediateDirectories: true)
        try domain.write("directories.tokendir = \(domain.path("tokens"))\nlog.level = ERROR\n", to: "softhsm.conf")
        try domain.write("pin-5678\n", to: "kms/pin")
    }

    /// Makes the token and the key; its fingerprint.
    func create() async throws -> String {
        try await ChildProcess.run(
            "/usr/bin/softhsm2-util",
            ["--init-token", "--free", "--label", "hds", "--so-pin", "so-pin-1234", "--pin", "pin-5678"],
            folder: domain.folder, environment: environment)
        try await hdsctl(["master-key", "create-in-token"] + options)
        return try await hdsctl(["master-key", "fingerprint"] + options)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @discardableResult
    func hdsctl(_ arguments: [String], input: ChildProcess.Input = .nothing) async throws -> String {
        try await ChildProcess.run(
            Repository.program("hdsctl"), arguments, folder: domain.folder, input: input, environment: environment)
    }
}
