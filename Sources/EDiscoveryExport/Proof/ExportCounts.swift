import EDiscoveryModel
package import WireText

/// What an export holds, in numbers: made while it is written, and again from its lines by who checks it.
package struct ExportCounts: Sendable, Hashable {
    package private(set) var spaces: Int64 = 0
    package private(set) var items: Int64 = 0
    package private(set) var context: Int64 = 0
    /// Files whose octets are in the package, and their octets.
    package private(set) var files: Int64 = 0
    package private(set) var octets: Int64 = 0
    package private(set) var filesMissing: Int64 = 0
    package private(set) var errors: Int64 = 0
    package private(set) var warnings: Int64 = 0
    package private(set) var byKind: [String: Int64] = [:]
    package private(set) var byProblem: [String: Int64] = [:]
    package private(set) var first: Timestamp?
    package private(set) var last: Timestamp?
    private var space: String?

    package init() {}

    /// Items in their order.
    mutating func add(_ exported: ExportedItem) {
        let item = exported.item
        items += 1
        if item.space != space { spaces += 1 }
        space = item.space
        if item.isContext { context += 1 }
        byKind[item.kind.rawValue, default: 0] += 1
        for (file, place) in zip(item.files, exported.files) {
            guard place.path != nil else {
                filesMissing += 1
                continue
            }
            files += 1
            octets = octets.addingReportingOverflow(Int64(clamping: file.size ?? 0)).partialValue
        }
        for problem in item.problems {
            if problem.isWarning { warnings += 1 } else { errors += 1 }
            byProblem[problem.problemClass.rawValue, default: 0] += 1
        }
        first = min(first ?? item.published, item.published)
        last = max(last ?? item.published, item.published)
    }

    /// Members in canonical order.
    func write(to json: inout JSONWriter) {
        json.beginObject()
        for (name, numbers) in [("byKind", byKind), ("byProblem", byProblem)] {
            json.name(name)
            json.beginObject()
            for (key, value) in numbers.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                json.member(key, value)
            }
            json.endObject()
        }
        json.member("context", context)
        json.member("errors", errors)
        json.member("files", files)
        json.member("filesMissing", filesMissing)
        if let first { json.member("first", first.iso8601) }
        json.member("items", items)
        if let last { json.member("last", last.iso8601) }
        json.member("octets", octets)
        json.member("spaces", spaces)
        json.member("warnings", warnings)
        json.endObject()
    }
}
