import DatabaseConfiguration
import Diagnostics
import KMSService
import MasterKey
import Recovery
import ServiceRuntime

extension KMSServiceConfiguration {
    /// From its file, with what is wrong with that in one error.
    static func read(_ path: String) throws(DiagnosedError) -> KMSServiceConfiguration {
        do {
            return try ConfigurationFile.read(path)
        } catch {
            throw error.diagnosed
        }
    }
}

/// The store and the master key of a service, from its configuration.
struct ServiceStore {
    private let configuration: KMSServiceConfiguration

    init(_ path: String) throws(DiagnosedError) { configuration = try .read(path) }

    func masterKey() throws -> any RootKeyWrapping { try configuration.masterKey.open(.ofProcess) }

    func target(scratch: String) -> Restore.Target {
        switch configuration.store.backend {
        case .sqlite(let file): .file(file.path)
        case .postgresql(let section):
            .postgresql(section.settings(.ofProcess, application: "hdsctl restore"), scratch: scratch)
        }
    }
}
