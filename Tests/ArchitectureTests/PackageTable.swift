import FoundationEssentials

/// The targets of the package with what each of them declares, as `swift package dump-package` tells it.
struct PackageTable {
    struct Entry: Equatable {
        enum Kind: String { case system, regular, executable, test }
        let name: String
        let kind: Kind
        /// Folder, relative to the root.
        let path: String
        /// Targets of this package.
        let targets: [String]
        /// Products of other packages.
        let products: [String]
    }

    let entries: [Entry]

    subscript(name: String) -> Entry? { entries.first { $0.name == name } }

    /// Runs in a folder of its own, since `swift test` holds the lock of the usual one.
    static let own = Task {
        let scratch = FileManager.default.temporaryDirectory.appending(path: "dump-package-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let command =
            "cd '\(Repository.root)' && env -u HDS_TARGETS swift package --scratch-path '\(scratch)' dump-package"
        return try PackageTable(json: try await output(of: command))
    }

    init(json: [UInt8]) throws {
        let document = try JSONDecoder().decode(Document.self, from: Data(json))
        entries = try document.targets.map { target in
            guard let kind = Entry.Kind(rawValue: target.type) else {
                throw Trouble("target \(target.name) is of the unknown kind \(target.type)")
            }
            let folder = kind == .test ? "Tests/" : "Sources/"
            return Entry(
                name: target.name, kind: kind, path: target.path ?? folder + target.name,
                targets: target.dependencies.compactMap { $0.byName ?? $0.target }.compactMap(\.first),
                products: target.dependencies.compactMap(\.product).compactMap(\.first))
        }
    }

    private struct Document: Decodable {
        let targets: [Target]
        struct Target: Decodable {
            let name: String
            let type: String
            let path: String?
            let dependencies: [Dependency]
        }
        struct Dependency: Decodable {
            let byName: [String]?
            let target: [String]?
            let product: [String]?

            enum CodingKeys: String, CodingKey { case byName, target, product }

            init(from decoder: any Decoder) throws {
                let members = try decoder.container(keyedBy: CodingKeys.self)
                func names(_ key: CodingKeys) throws -> [String]? {
                    try members.decodeIfPresent([Name].self, forKey: key)?.compactMap(\.text)
                }
                byName = try names(.byName)
                target = try names(.target)
                product = try names(.product)
            }
        }
        /// The lists mix the name with conditions and nulls.
        struct Name: Decodable {
            let text: String?
            init(from decoder: any Decoder) throws {
                text = try? decoder.singleValueContainer().decode(String.self)
            }
        }
    }
}
