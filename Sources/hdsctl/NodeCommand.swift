import ArgumentParser
import ControlSocket
import Diagnostics
import WireText

/// `hdsctl node`: the nodes that work together on one database.
struct NodeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "node",
        abstract: "The nodes that work together on one database.",
        subcommands: [List.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Each node with its release, its epoch and how old its lease is.")

        @OptionGroup var question: QuestionOptions

        func run() throws {
            try question.ask("nodes") { answer in
                show(Self.lines(answer))
            }
        }

        static func lines(_ answer: JSONNode) -> [String] {
            let nodes = answer.nodes("nodes")
            guard !nodes.isEmpty else {
                return ["\(answer.text("node")) works alone on its database, epoch \(answer.number("epoch"))."]
            }
            let site = answer.text("site").isEmpty ? "" : ", site \(answer.text("site"))"
            let promise = answer["synchronous"]?.boolean == true ? "synchronous" : "not promised to be synchronous"
            let rows = nodes.map { node in
                let state =
                    node["removed"]?.boolean == true
                    ? "removed" : node["held"]?.boolean == true ? "lease held" : "no lease"
                return [
                    node.text("node"), node.text("release"), "epoch \(node.number("epoch"))", state,
                    "renewed \(node.number("ageMilliseconds")) ms ago",
                ]
            }
            return ["epoch \(answer.number("epoch"))\(site), commits are \(promise)"] + Columns.lines(rows)
        }
    }
}
