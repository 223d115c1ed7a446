import Yams

/// Where two texts of a configuration differ, by what they say and not by how it is written.
enum ConfigurationDifference {
    /// The deepest keys whose values differ, such as `core.pins`; elements of a list count as the list. A text that is no
    /// YAML differs nowhere: who asks has read both.
    static func keys(_ old: [UInt8], _ new: [UInt8]) -> [String] {
        guard case .success(let old) = YAMLText.parse(old), case .success(let new) = YAMLText.parse(new) else {
            return []
        }
        var keys: Set<String> = []
        compare(old, new, at: "", &keys)
        return keys.sorted()
    }

    private static func compare(_ old: Node?, _ new: Node?, at path: String, _ keys: inout Set<String>) {
        switch (old, new) {
        case (.mapping(let old)?, .mapping(let new)?):
            let names = Set((Array(old.keys) + Array(new.keys)).compactMap(\.scalar?.string))
            for name in names {
                compare(old[name], new[name], at: path.isEmpty ? name : "\(path).\(name)", &keys)
            }
        case (.sequence(let old)?, .sequence(let new)?) where old.count == new.count:
            for (one, other) in zip(old, new) { compare(one, other, at: path, &keys) }
        case (.scalar(let old)?, .scalar(let new)?) where old.string == new.string: break
        default: keys.insert(path)
        }
    }
}
