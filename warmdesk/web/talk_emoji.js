/* The emojis that are offered first; any other can be typed or pasted. */
export const EMOJI = [
  ..."👍👎👏🙏💪👀🎉🚀✅❌",
  ..."😀😂😅😊😍🤔😎😢😡🤯",
  ..."🙌🤝👋🤞💯🔥⭐💡🐛🧪",
  ..."☕🍕🎂🌱🌍🏆📌📎🔒⏰",
];
/** One tap away. */
export const QUICK = ["👍", "🎉", "😂", "👀", "✅", "🙏"];
