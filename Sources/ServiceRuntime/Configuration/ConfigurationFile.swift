import Diagnostics
import Yams

/// Reads one YAML file into a `Decodable` structure and refuses what it does not understand, by path and line.
///
/// A section of the configuration is a plain `Decodable` struct whose coding keys are `CaseIterable`: that list is
/// what the reader holds the file against, at every depth and in every element of a list. Keys are written in kebab
/// case. Refused are unknown keys (with the nearest known one), keys that stand twice, missing keys, wrong types,
/// values out of range, anchors and aliases, a second document, files that are no regular files or larger than 1 MiB.
/// Secrets never stand in the file; `SecretLocation` names where they are.
/// ```swift
/// struct StoreSection: Decodable, Sendable {
///     let file: FileLocation
///     let busyTimeout: Duration
///     enum CodingKeys: String, CodingKey, CaseIterable {
///         case file
///         case busyTimeout = "busy-timeout"
///     }
///     init(from decoder: any Decoder) throws {
///         let section = try decoder.container(keyedBy: CodingKeys.self)
///         file = try section.value(.file)
///         busyTimeout = try section.value(.busyTimeout, default: .seconds(5), in: .milliseconds(1) ... .seconds(60))
///     }
/// }
/// let configuration = try ConfigurationFile.read("/etc/hds/hds-kms.yaml", as: KMSConfiguration.self)
/// ```
/// Where no value has a default the initialiser can be left to the compiler.
package enum ConfigurationFile {
    package static let maximumBytes = 1 << 20

    /// The configuration in the file at `path`. Relative paths inside are taken from the file's own folder.
    package static func read<Configuration: Decodable>(
        _ path: String, as type: Configuration.Type = Configuration.self
    ) throws(ConfigurationError) -> Configuration {
        try decode(try contents(of: path), of: path)
    }

    /// What stands in the file, for `decode(_:of:)` and to compare with what stands there later.
    static func contents(of path: String) throws(ConfigurationError) -> [UInt8] {
        do {
            return try RegularFile.read(path, upTo: maximumBytes)
        } catch {
            throw ConfigurationError(file: path, problems: [problem(for: error)])
        }
    }

    /// Of what `contents` read from the file at `path`.
    static func decode<Configuration: Decodable>(
        _ bytes: [UInt8], of path: String, as type: Configuration.Type = Configuration.self
    ) throws(ConfigurationError) -> Configuration {
        let folder = FileLocation.absolute(path).split(separator: "/").dropLast().joined(separator: "/")
        return try decode(bytes, file: path, folder: "/" + folder, as: type)
    }

    /// The configuration in a text that is already in memory; `file` stands in messages only.
    package static func decode<Configuration: Decodable>(
        _ bytes: [UInt8], file: String, folder: String = "/", as type: Configuration.Type = Configuration.self
    ) throws(ConfigurationError) -> Configuration {
        let root: Node
        switch YAMLText.parse(bytes) {
        case .success(let node): root = node
        case .failure(let problem): throw ConfigurationError(file: file, problems: [problem])
        }
        let reading = ConfigurationReading(folder: folder)
        let decoder = ConfigurationDecoder(node: root, path: [], reading: reading)
        do {
            let configuration = try Configuration(from: decoder)
            guard reading.problems.isEmpty else { throw ConfigurationError(file: file, problems: reading.problems) }
            return configuration
        } catch let error as ConfigurationError {
            throw error
        } catch {
            reading.problems.append(decoder.problem(for: error))
            throw ConfigurationError(file: file, problems: reading.problems)
        }
    }

    /// The keys in which two texts of a configuration differ, such as `core.pins`.
    package static func differences(_ old: [UInt8], _ new: [UInt8]) -> [String] {
        ConfigurationDifference.keys(old, new)
    }

    /// Where the service of that configuration serves its health, whatever else stands there; nil when that says nothing.
    package static func healthAddress(in path: String) -> NetworkAddress? {
        guard let bytes = try? contents(of: path), case .success(let root) = YAMLText.parse(bytes),
            let text = root["runtime"]?["health"]?["address"]?.string
        else { return nil }
        return NetworkAddress(configurationText: text, folder: "/")
    }

    private static func problem(for trouble: RegularFile.Trouble) -> ConfigurationError.Problem {
        switch trouble {
        case .unreadable(let reason):
            .init(
                "the configuration file can not be read", expected: "a readable file", found: reason,
                hint: "name the file with --config and give the service's user the right to read it")
        case .notRegular:
            .init("this is no regular file", expected: "a YAML file", found: "a folder, a pipe or a device")
        case .tooLarge(let bytes):
            .init("the file is too large", expected: "at most \(maximumBytes) bytes", found: "\(bytes) bytes")
        }
    }
}
